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
	posture_compliant
	agent_measured
	suitable
}

obligations := object.union(lease, instances)

lease := {"ttl_seconds": min([asked_ttl_seconds, ceiling_ttl_seconds, clock_ttl_seconds])}

instances := {"max_instances": limit |
	limit := input.workload.max_instances
	is_number(limit)
}

default asked_ttl_seconds := 300

asked_ttl_seconds := input.workload.ttl_seconds if is_number(input.workload.ttl_seconds)

# F4: a host that owns the guest's clock can stretch a lease; what it can stretch is kept short.
default clock_ttl_seconds := 60

clock_ttl_seconds := ceiling_ttl_seconds if clock_protected

# Either the evidence proves a protected clock, or its launch digest is that of an image which was
# reviewed to run on one (Secure TSC): a plain SNP report cannot tell.
clock_protected if input.claims.clock == "protected"

clock_protected if {
	some entry in input.reference
	entry.clock == "protected"
}

# --- posture ------------------------------------------------------------------------------------

posture_compliant if input.node.posture == "compliant"

reasons contains {
	"code": "posture_not_compliant",
	"claim": "node.posture",
	"expected": "compliant",
	"actual": object.get(input, ["node", "posture"], null),
	"hint": "read the reasons of the node's last appraisal, mend the node, and attest again",
} if {
	not posture_compliant
}

# --- the agent's own code (F4b) -----------------------------------------------------------------

chain := {"firmware", "kernel", "cmdline", "rootfs", "agent"}

# One measured chain, not pieces of several: an agent measured beside another kernel proves nothing.
agent_measured if {
	some entry in input.reference
	every component in chain {
		component in entry.components
	}
}

reasons contains {
	"code": "agent_not_measured",
	"claim": "claims.measurements",
	"expected": "one reference value over firmware, kernel, command line, root file system and agent",
	"actual": concat("; ", sort([sprintf("%s: %s", [entry.name, concat(", ", sort(entry.components))]) |
		some entry in input.reference
	])),
	"hint": "start the node from an image whose launch digest covers the agent",
} if {
	not agent_measured
}

# --- development --------------------------------------------------------------------------------

suitable if input.workload.production == false

suitable if {
	input.node.development == false
	input.claims.development == false
}

reasons contains {
	"code": "development_node",
	"claim": "node.development",
	"expected": false,
	"actual": object.get(input, ["node", "development"], null),
	"hint": "a production workload needs a node under vendor roots",
} if {
	not suitable
}
