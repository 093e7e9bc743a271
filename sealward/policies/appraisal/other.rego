# METADATA
# title: Which file judges which kind of evidence
# description: |
#   policy.rego comes here for everything but SEV-SNP. A kind that is not listed is not trusted.
package sealward.appraisal.other

import rego.v1

tpms := {"tpm", "google-vtpm"}

intels := {"tdx", "sgx"}

azures := {"azure-snp", "azure-tdx"}

arms := {"cca", "psa"}

trust_vector := data.sealward.appraisal.tpm.trust_vector if {
	input.claims.tee in tpms
} else := data.sealward.appraisal.intel.trust_vector if {
	input.claims.tee in intels
} else := data.sealward.appraisal.nitro.trust_vector if {
	input.claims.tee == "nitro"
} else := data.sealward.appraisal.azure.trust_vector if {
	input.claims.tee in azures
} else := data.sealward.appraisal.arm.trust_vector if {
	input.claims.tee in arms
} else := data.sealward.appraisal.hygon.trust_vector if {
	input.claims.tee == "hygon-csv"
} else := {
	"instance-identity": "contraindicated",
	"configuration": "contraindicated",
	"executables": "contraindicated",
	"file-system": "none",
	"hardware": "contraindicated",
	"runtime-opaque": "contraindicated",
	"storage-opaque": "none",
	"sourced-data": "none",
}

# What describes the launch or the boot: for reasons that are told of every kind.
default entries := []

entries := data.sealward.appraisal.azure.entries if {
	input.claims.tee in azures
} else := data.sealward.appraisal.tpm.boots if {
	input.claims.tee in tpms
} else := data.sealward.appraisal.launch.boots

# --- reasons ------------------------------------------------------------------------------------

limits contains data.sealward.appraisal.tpm.limit if input.claims.tee in tpms

limits contains data.sealward.appraisal.arm.limit if input.claims.tee == "psa"

limits contains data.sealward.appraisal.hygon.limit if input.claims.tee == "hygon-csv"

shortcomings contains reason if {
	input.claims.tee in tpms
	some reason in data.sealward.appraisal.tpm.shortcomings
}

shortcomings contains reason if {
	input.claims.tee in intels
	some reason in data.sealward.appraisal.intel.shortcomings
}

shortcomings contains reason if {
	input.claims.tee == "nitro"
	some reason in data.sealward.appraisal.nitro.shortcomings
}

shortcomings contains reason if {
	input.claims.tee in azures
	some reason in data.sealward.appraisal.azure.shortcomings
}

shortcomings contains reason if {
	input.claims.tee in arms
	some reason in data.sealward.appraisal.arm.shortcomings
}

shortcomings contains reason if {
	input.claims.tee == "hygon-csv"
	some reason in data.sealward.appraisal.hygon.shortcomings
}

shortcomings contains {
	"code": "tee_unknown",
	"claim": "claims.tee",
	"expected": concat(", ", sort(known_kinds)),
	"actual": object.get(input, ["claims", "tee"], null),
	"hint": "this policy has no rules for evidence of this kind; attest with one that it knows",
} if {
	not input.claims.tee in known_kinds
}

known_kinds := {"snp", "nitro", "hygon-csv"} | tpms | intels | azures | arms
