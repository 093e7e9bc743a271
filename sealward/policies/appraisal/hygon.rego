# METADATA
# title: What the shipped appraisal policy asks of a Hygon CSV guest
# description: |
#   Reports name no firmware level and their certificates have no dates: hardware is `warning` at best.
#   The mask over a report is not signed, so that its policy is proven beside a known measurement only:
#   nothing is affirmed of a launch that no reference set describes. Before CSV3 the host keeps the
#   guest's page tables, and without encrypted state its registers: no runtime protection at all.
package sealward.appraisal.hygon

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

default hardware := "contraindicated"

hardware := "warning" if {
	is_object(input.claims.hygon)
	is_string(input.claims.platform_id)
}

default runtime_opaque := "contraindicated"

runtime_opaque := "affirming" if {
	protected_by("csv3")
	protected_by("encrypted_state")
	input.claims.provider_in_tcb == false
} else := "warning" if {
	protected_by("encrypted_state")
}

protected_by(flag) if {
	data.sealward.appraisal.launch.boots != []
	input.claims.debug == false
	input.claims.migratable == false
	input.claims.memory_encrypted == true
	input.claims.hygon.policy_flags[flag] == true
}

shortcomings contains {
	"code": "guest_state_not_encrypted",
	"claim": "claims.hygon.policy_flags.encrypted_state",
	"expected": true,
	"actual": object.get(input, ["claims", "hygon", "policy_flags", "encrypted_state"], null),
	"hint": "launch the guest with a policy that demands encrypted state, or CSV3: without it the host reads and writes its registers",
} if {
	not input.claims.hygon.policy_flags.encrypted_state == true
}

limit := {
	"code": "tcb_level_unsaid",
	"claim": "claims.tcb",
	"expected": "evidence that names the security version of its firmware",
	"actual": null,
	"hint": "reports of CSV version 1 name no firmware and its certificates have no dates; run the node on another kind of guest where that matters",
}

shortcomings contains reason if some reason in data.sealward.appraisal.launch.shortcomings
