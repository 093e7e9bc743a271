# METADATA
# title: What the shipped appraisal policy asks of an AWS Nitro enclave
# description: |
#   The hypervisor that keeps the parent instance out of the enclave is AWS's, it signs the document,
#   and nothing says that memory is encrypted: runtime-opaque is `warning` at best.
package sealward.appraisal.nitro

import rego.v1

trust_vector := {
	"instance-identity": data.sealward.appraisal.instance_identity,
	"configuration": configuration,
	"executables": data.sealward.appraisal.launch.executables,
	"file-system": data.sealward.appraisal.launch.file_system,
	"hardware": hardware,
	"runtime-opaque": runtime_opaque,
	"storage-opaque": "none",
	"sourced-data": "none",
}

default configuration := "contraindicated"

configuration := "affirming" if {
	input.claims.debug == false
	input.claims.migratable == false
	data.sealward.appraisal.launch.trust_config_in_image
}

shortcomings contains {
	"code": "trust_config_not_covered",
	"claim": "claims.measurements",
	"expected": "a launch that covers the agent's trust configuration",
	"actual": null,
	"hint": "build the trust configuration into the image, and say trust_config image in the value of its register",
} if {
	data.sealward.appraisal.launch.boots != []
	not data.sealward.appraisal.launch.trust_config_in_image
}

# The document is AWS's word for its machine; there is no TCB level to hold against a floor.
default hardware := "contraindicated"

hardware := "affirming" if is_object(input.claims.nitro)

default runtime_opaque := "contraindicated"

runtime_opaque := "warning" if {
	input.claims.debug == false
	input.claims.migratable == false
}

shortcomings contains {
	"code": "memory_not_encrypted",
	"claim": "claims.memory_encrypted",
	"expected": true,
	"actual": object.get(input, ["claims", "memory_encrypted"], null),
	"hint": "AWS's hypervisor can read an enclave's memory; run workloads above internal on a confidential guest",
} if {
	not input.claims.memory_encrypted == true
}

shortcomings contains reason if some reason in data.sealward.appraisal.launch.shortcomings
