# METADATA
# title: What the shipped appraisal policy asks of Azure's confidential machines
# description: |
#   The hardware vouches for the paravisor, the paravisor keeps a TPM, and that TPM for what booted. So
#   the paravisor's launch has to be known by its digest, and the boot by its registers. The paravisor
#   belongs to the provider and can read the guest's memory: runtime-opaque is `warning` at best.
package sealward.appraisal.azure

import rego.v1

trust_vector := {
	"instance-identity": instance_identity,
	"configuration": configuration,
	"executables": executables,
	"file-system": file_system,
	"hardware": hardware,
	"runtime-opaque": data.sealward.appraisal.runtime_opaque,
	"storage-opaque": "none",
	"sourced-data": "none",
}

default instance_identity := "contraindicated"

instance_identity := data.sealward.appraisal.instance_identity if input.claims.tpm.residency == "measured"

# --- executables --------------------------------------------------------------------------------

# Whoever can start a protected machine can write a paravisor's claims himself: its launch decides
# whether they are Azure's. Run-time registers of a TD that nobody extended are zero.
launched := [measured |
	some measured in data.sealward.appraisal.measurements
	measured.name in {"launch", "mrtd"}
]

extended := [measured |
	some measured in data.sealward.appraisal.measurements
	measured.name in {"rtmr0", "rtmr1", "rtmr2", "rtmr3"}
	trim(measured.digest, "0") != ""
]

# Only of what is described as a paravisor: a guest of ours that is known by the same kind of value
# may report on whatever its owner asks it to.
entry_of(measured) := entry if {
	entry := data.reference.measurement[measured.digest]
	"paravisor" in entry.components
}

paravisor := [entry |
	some measured in array.concat(launched, extended)
	entry := entry_of(measured)
]

default paravisor_known := false

paravisor_known if {
	count(launched) == 1
	count(paravisor) == count(launched) + count(extended)
	every entry in paravisor {
		data.sealward.appraisal.in_time(entry.not_after)
	}
}

entries := array.concat(paravisor, data.sealward.appraisal.tpm.boots)

default executables := "contraindicated"

executables := "affirming" if {
	paravisor_known
	data.sealward.appraisal.tpm.executables == "affirming"
}

default file_system := "none"

file_system := data.sealward.appraisal.tpm.file_system if executables == "affirming"

shortcomings contains {
	"code": "unknown_measurement",
	"claim": sprintf("claims.measurements[%v]", [measured.name]),
	"expected": "a digest that an active reference set describes as a paravisor",
	"actual": measured.digest,
	"hint": "import and activate a reference set with the launch digest of Azure's paravisor, and paravisor among its components",
} if {
	some measured in array.concat(launched, extended)
	not entry_of(measured)
}

# --- configuration ------------------------------------------------------------------------------

default configuration := "contraindicated"

configuration := "affirming" if {
	input.claims.debug == false
	input.claims.migratable == false
	data.sealward.appraisal.tpm.trust_config_measured
}

# --- hardware -----------------------------------------------------------------------------------

default hardware := "contraindicated"

hardware := data.sealward.appraisal.hardware if {
	input.claims.tee == "azure-snp"
} else := data.sealward.appraisal.intel.hardware

# --- explanations -------------------------------------------------------------------------------

shortcomings contains {
	"code": "key_residency_unproven",
	"claim": "claims.tpm.residency",
	"expected": "measured",
	"actual": object.get(input, ["claims", "tpm", "residency"], null),
	"hint": "the paravisor's claims must name the key that signed the quote",
} if {
	not input.claims.tpm.residency == "measured"
}

shortcomings contains {
	"code": "provider_in_tcb",
	"claim": "claims.provider_in_tcb",
	"expected": false,
	"actual": object.get(input, ["claims", "provider_in_tcb"], null),
	"hint": "the paravisor belongs to the provider and can read the guest's memory; run restricted data on a guest without one",
} if {
	not input.claims.provider_in_tcb == false
}

shortcomings contains {
	"code": "tcb_below_floor",
	"claim": "claims.tcb.reported",
	"expected": "a product with an active TCB floor, reached in every component",
	"actual": sprintf("%v/%v", [input.claims.tee, object.get(input, ["claims", "product"], "?")]),
	"hint": "activate a reference set that states the lowest TCB accepted for this product on Azure",
} if {
	input.claims.tee == "azure-snp"
	hardware != "affirming"
}

shortcomings contains reason if {
	input.claims.tee == "azure-tdx"
	some reason in data.sealward.appraisal.intel.shortcomings
	reason.code in {"tcb_out_of_date", "tcb_status_not_accepted", "tcb_below_floor", "revocation_unchecked"}
}

shortcomings contains reason if {
	some reason in data.sealward.appraisal.tpm.shortcomings
	reason.code != "key_residency_unproven"
}
