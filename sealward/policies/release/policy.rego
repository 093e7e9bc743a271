# METADATA
# title: Shipped release policy, the organisation's guardrail
# description: |
#   Says whether a node may use a workload's keys. A team or workload layer can only narrow what
#   this answers: the host composes layers by the strictest (docs/specs/policy-contract.md).
#
#   Every demand is a positive rule, so that a missing input denies. Reasons only explain.
package sealward.release

import rego.v1

ceiling_ttl_seconds := 3600

default allow := false

allow if {
	posture_sufficient
	data_class_open
	agent_measured
	suitable
}

# Each of these demands has its reason, and nothing else has one: where all hold, none is looked for.
reasons contains reason if {
	not allow
	some reason in shortcomings
}

obligations := object.union(
	{"ttl_seconds": min([asked_ttl_seconds, ceiling_ttl_seconds, clock_ttl_seconds])},
	{"max_instances": limit |
		limit := input.workload.max_instances
		is_number(limit)
	},
)

default asked_ttl_seconds := 300

asked_ttl_seconds := input.workload.ttl_seconds if is_number(input.workload.ttl_seconds)

# F4: a host that owns the guest's clock can stretch a lease; what it can stretch is kept short.
default clock_ttl_seconds := 60

clock_ttl_seconds := ceiling_ttl_seconds if clock_protected

# Either the evidence proves a protected clock, or its launch digest is that of an image which was
# reviewed to run on one (Secure TSC): a plain SNP report cannot tell.
clock_protected if {
	input.claims.clock == "protected"
} else if {
	some entry in reference
	entry.clock == "protected"
}

# Text is no list, and engines differ in what they make of one.
reference := input.reference if is_array(input.reference)

# --- posture ------------------------------------------------------------------------------------

posture_sufficient if {
	input.node.posture == "compliant"
} else if {
	input.node.posture == "warning" # of what the kind of evidence can never show, and of nothing else
	count(warnings) + count(device_warnings) > 0
	count(warnings - inherent) == 0
	count(device_warnings - {"hardware"}) == 0 # whether a device is in this machine
}

warnings := {name | some name, tier in input.node.trust_vector; tier == "warning"} if {
	is_object(input.node.trust_vector)
}

device_warnings := {name |
	is_object(input.node.submods)
	some vector in input.node.submods
	is_object(vector)
	some name, tier in vector
	tier in {"warning", "contraindicated"} # the latter passes under a development root only
}

# A TPM or a device's root of trust cannot say who reads memory; a hypervisor or paravisor of the
# provider can read it.
default inherent := set()

inherent := {"hardware", "runtime-opaque"} if {
	input.claims.tee in {"tpm", "google-vtpm", "psa", "hygon-csv"}
} else := {"runtime-opaque"} if {
	input.claims.tee in {"nitro", "azure-snp", "azure-tdx"}
}

shortcomings contains {
	"code": "posture_not_compliant",
	"claim": "node.posture",
	"expected": "compliant",
	"actual": object.get(input, ["node", "posture"], null),
	"hint": "read the reasons of the node's last appraisal, mend the node, and attest again",
} if {
	not posture_sufficient
}

# --- data classes (F8b) -------------------------------------------------------------------------

# What each class asks of the memory that will hold the data:
#
#     public, internal    nothing: it may be lost to whoever owns the machine
#     confidential        encrypted, and not open to debugging
#     restricted          that, and no code of the provider inside
#
# Classes are words of this installation: one that is not listed here asks for as much as the last.
open_classes := {"public", "internal"}

data_class_open if {
	input.workload.data_class in open_classes
} else if {
	memory_protected
	input.workload.data_class == "confidential"
} else if {
	memory_protected
	input.claims.provider_in_tcb == false
}

memory_protected if {
	input.claims.memory_encrypted == true
	input.claims.debug == false
	input.claims.migratable == false
}

shortcomings contains {
	"code": "data_class_above_internal",
	"claim": "workload.data_class",
	"expected": concat(" or ", sort(open_classes)),
	"actual": object.get(input, ["workload", "data_class"], null),
	"hint": "nothing says that this node's memory is encrypted; run this workload on a confidential guest",
} if {
	posture_sufficient
	not data_class_open
	not memory_protected
}

shortcomings contains {
	"code": "provider_in_tcb",
	"claim": "claims.provider_in_tcb",
	"expected": false,
	"actual": object.get(input, ["claims", "provider_in_tcb"], null),
	"hint": "the provider's code can read this node's memory; run this workload on a guest without any, or class its data confidential",
} if {
	posture_sufficient
	not data_class_open
	memory_protected
}

# --- the agent's own code (F4b) -----------------------------------------------------------------

chain := {"firmware", "kernel", "cmdline", "rootfs", "agent"}

# One measured chain, not pieces of several: an agent measured beside another kernel proves nothing.
# Of a TPM an entry is a whole boot.
agent_measured if {
	some entry in reference
	every component in chain {
		component in entry.components
	}
}

shortcomings contains {
	"code": "agent_not_measured",
	"claim": "claims.measurements",
	"expected": "one reference value over firmware, kernel, command line, root file system and agent",
	"actual": concat("; ", sort([sprintf("%v: %v", [entry.name, concat(", ", sort(covered(entry)))]) |
		some entry in reference
	])),
	"hint": "start the node from an image whose launch digest, or on a TPM whose registers, cover the agent",
} if {
	not agent_measured
}

covered(entry) := [component |
	is_array(entry.components)
	some component in entry.components
	component in chain
]

# --- development --------------------------------------------------------------------------------

suitable if {
	input.node.development == false
	input.claims.development == false
} else if {
	input.workload.production == false
}

shortcomings contains {
	"code": "development_node",
	"claim": "node.development",
	"expected": false,
	"actual": object.get(input, ["node", "development"], null),
	"hint": "a production workload needs a node under vendor roots",
} if {
	not suitable
}
