# METADATA
# title: What the shipped appraisal policy asks of Arm CCA and PSA
# description: |
#   A CCA platform's own components stand among the registers of a launch, beside the realm's: there is
#   no TCB level, so that unknown firmware is unknown executables. A PSA root of trust tells how a
#   device booted and not who reads its memory: like a TPM, its best is `warning`.
package sealward.appraisal.arm

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
	lifecycle == "secured"
	data.sealward.appraisal.launch.trust_config_in_image
}

default lifecycle := "unsaid"

lifecycle := input.claims.cca.lifecycle_state if {
	input.claims.tee == "cca"
} else := input.claims.psa.lifecycle_state

shortcomings contains {
	"code": "lifecycle_not_secured",
	"claim": sprintf("claims.%v.lifecycle_state", [input.claims.tee]),
	"expected": "secured",
	"actual": lifecycle,
	"hint": "a device in another state lets others debug or change it; provision it for production",
} if {
	lifecycle != "secured"
}

shortcomings contains {
	"code": "trust_config_not_covered",
	"claim": "claims.measurements",
	"expected": "a launch that covers the agent's trust configuration",
	"actual": null,
	"hint": "measure the trust configuration with the image, and say trust_config image in the value of its register",
} if {
	data.sealward.appraisal.launch.boots != []
	not data.sealward.appraisal.launch.trust_config_in_image
}

# A platform that is known by the key that its tenant vouches for.
default hardware := "contraindicated"

hardware := "affirming" if {
	input.claims.tee == "cca"
	is_string(input.claims.platform_id)
	lifecycle == "secured"
} else := "warning" if {
	input.claims.tee == "psa"
	is_string(input.claims.platform_id)
	lifecycle == "secured"
}

shortcomings contains {
	"code": "platform_not_vouched_for",
	"claim": "claims.platform_id",
	"expected": "a platform whose key is a trust anchor",
	"actual": object.get(input, ["claims", "platform_id"], null),
	"hint": "add the device's key to the tenant's trust anchors",
} if {
	not is_string(input.claims.platform_id)
}

default runtime_opaque := "contraindicated"

runtime_opaque := data.sealward.appraisal.runtime_opaque if {
	input.claims.tee == "cca"
} else := "warning" if {
	input.claims.debug == false
	input.claims.migratable == false
}

shortcomings contains {
	"code": "memory_not_encrypted",
	"claim": "claims.memory_encrypted",
	"expected": true,
	"actual": object.get(input, ["claims", "memory_encrypted"], null),
	"hint": "run the node as a confidential guest",
} if {
	input.claims.tee == "cca"
	not input.claims.memory_encrypted == true
}

limit := {
	"code": "root_of_trust_only",
	"claim": "claims.tee",
	"expected": "a TEE that encrypts the memory of the guest",
	"actual": "psa",
	"hint": "a root of trust cannot say who reads memory; run the node as a confidential guest for data above internal",
}

shortcomings contains reason if some reason in data.sealward.appraisal.launch.shortcomings
