package sealward.release.policy_test

import rego.v1

import data.sealward.release

entry := {
	"name": "agent-1.0",
	"set": "production",
	"components": ["firmware", "kernel", "cmdline", "rootfs", "agent"],
	"clock": "protected",
	"trust_config": "host_data",
	"not_after": null,
}

good := {
	"node": {"instance": "n1", "posture": "compliant", "labels": {}, "development": false, "trust_vector": {}},
	"claims": {"clock": "host", "development": false},
	"reference": [entry],
	"workload": {
		"name": "vision",
		"data_class": "internal",
		"production": true,
		"max_instances": 2,
		"ttl_seconds": 120,
	},
	"request": {},
	"now": "2026-11-23T12:00:00Z",
}

changed(difference) := object.union(good, difference)

codes(doc) := {reason.code | some reason in found} if {
	found := release.reasons with input as doc
}

allowed(doc) := answer if {
	answer := release.allow with input as doc
}

obligations(doc) := limits if {
	limits := release.obligations with input as doc
}

test_a_compliant_node_is_allowed if {
	allowed(good)
	codes(good) == set()
	obligations(good) == {"ttl_seconds": 120, "max_instances": 2}
}

test_only_a_compliant_posture_is_allowed if {
	every posture in ["warning", "noncompliant", "stale", "quarantined", "", null, true] {
		doc := changed({"node": {"posture": posture}})
		not allowed(doc)
		codes(doc) == {"posture_not_compliant"}
	}
}

vector := {
	"instance-identity": "affirming",
	"configuration": "affirming",
	"executables": "affirming",
	"file-system": "affirming",
	"hardware": "warning",
	"runtime-opaque": "warning",
	"storage-opaque": "none",
	"sourced-data": "none",
}

tpm := changed({
	"node": {"posture": "warning", "trust_vector": vector},
	"claims": {"tee": "tpm"},
})

tpm_but(difference) := object.union(tpm, difference)

test_a_tpm_in_order_is_allowed_data_up_to_internal if {
	every class in ["public", "internal"] {
		allowed(tpm_but({"workload": {"data_class": class}}))
		codes(tpm_but({"workload": {"data_class": class}})) == set()
	}
}

test_a_tpm_is_denied_every_other_data_class if {
	every class in ["confidential", "secret", "Internal", "internal ", "", null, true, ["internal"]] {
		doc := tpm_but({"workload": {"data_class": class}})
		not allowed(doc)
		codes(doc) == {"data_class_above_internal"}
	}
}

test_a_workload_without_a_data_class_is_denied_to_a_tpm if {
	doc := object.union(
		object.remove(tpm, ["workload"]),
		{"workload": object.remove(tpm.workload, ["data_class"])},
	)
	not allowed(doc)
	codes(doc) == {"data_class_above_internal"}
}

guarded := {"tee": "snp", "memory_encrypted": true, "debug": false, "migratable": false, "provider_in_tcb": false}

test_a_node_with_encrypted_memory_and_no_provider_inside_may_have_any_data_class if {
	every class in ["public", "internal", "confidential", "restricted", "secret", "", null] {
		allowed(changed({"workload": {"data_class": class}, "claims": guarded}))
	}
}

test_a_node_whose_memory_nobody_encrypts_gets_nothing_above_internal if {
	every claim in [{"memory_encrypted": false}, {"memory_encrypted": null}, {"debug": true}, {"migratable": true}] {
		every class in ["confidential", "restricted", "secret"] {
			doc := changed({"workload": {"data_class": class}, "claims": object.union(guarded, claim)})
			not allowed(doc)
			codes(doc) == {"data_class_above_internal"}
		}
	}
}

test_a_provider_inside_may_see_confidential_data_and_nothing_above if {
	paravisor := changed({
		"node": {"posture": "warning", "trust_vector": object.union(vector, {"hardware": "affirming"})},
		"claims": object.union(guarded, {"tee": "azure-snp", "provider_in_tcb": true}),
	})
	allowed(object.union(paravisor, {"workload": {"data_class": "confidential"}}))
	every class in ["restricted", "secret"] {
		doc := object.union(paravisor, {"workload": {"data_class": class}})
		not allowed(doc)
		codes(doc) == {"provider_in_tcb"}
	}
	doubted := object.union(paravisor, {"node": {"trust_vector": {"hardware": "warning"}}})
	codes(doubted) == {"posture_not_compliant"}
}

test_a_nitro_enclave_may_have_data_up_to_internal if {
	enclave := changed({
		"node": {"posture": "warning", "trust_vector": object.union(vector, {"hardware": "affirming"})},
		"claims": object.union(guarded, {"tee": "nitro", "provider_in_tcb": true, "memory_encrypted": false}),
	})
	allowed(enclave)
	codes(object.union(enclave, {"workload": {"data_class": "confidential"}})) == {"data_class_above_internal"}
}

test_a_warning_about_where_a_device_is_denies_nothing_and_any_other_does if {
	affirmed := object.union(vector, {"hardware": "affirming", "runtime-opaque": "affirming"})
	bound := object.union(affirmed, {"hardware": "warning"})
	doc := changed({
		"node": {"posture": "warning", "trust_vector": affirmed, "submods": {"gpu-0": bound}},
		"claims": guarded,
	})
	allowed(doc)
	doubted := object.union(doc, {"node": {"submods": {"gpu-0": {"executables": "warning"}}}})
	not allowed(doubted)
	codes(doubted) == {"posture_not_compliant"}
}

# The host takes such a node with a warning in a development installation only.
test_a_development_root_behind_a_device_denies_no_more_than_that_warning if {
	affirmed := object.union(vector, {"hardware": "affirming", "runtime-opaque": "affirming"})
	minted := object.union(affirmed, {"hardware": "contraindicated"})
	doc := changed({
		"node": {"posture": "warning", "trust_vector": affirmed, "submods": {"gpu-0": minted}},
		"claims": guarded,
	})
	allowed(doc)
	not allowed(object.union(doc, {"node": {"posture": "noncompliant"}}))
	not allowed(object.union(doc, {"node": {"submods": {"gpu-0": {"executables": "contraindicated"}}}}))
}

test_a_warning_of_anything_but_a_tpm_is_denied if {
	every tee in ["snp", "TPM", "", null] {
		doc := tpm_but({"claims": {"tee": tee}})
		not allowed(doc)
		codes(doc) == {"posture_not_compliant"}
	}
}

test_a_doubt_that_a_tpm_does_not_always_leave_is_denied if {
	every name in ["instance-identity", "configuration", "executables", "file-system"] {
		doc := tpm_but({"node": {"trust_vector": {name: "warning"}}})
		not allowed(doc)
		codes(doc) == {"posture_not_compliant"}
	}
}

test_a_warning_that_nothing_explains_is_denied if {
	every unexplained in [{}, object.union(vector, {"hardware": "affirming", "runtime-opaque": "affirming"}), null] {
		doc := object.union(
			object.remove(tpm, ["node"]),
			{"node": object.union(object.remove(tpm.node, ["trust_vector"]), {"trust_vector": unexplained})},
		)
		not allowed(doc)
		codes(doc) == {"posture_not_compliant"}
	}
}

test_no_other_posture_of_a_tpm_is_allowed if {
	every posture in ["noncompliant", "stale", "quarantined", "", null, true] {
		not allowed(tpm_but({"node": {"posture": posture}}))
	}
}

test_pieces_of_a_chain_are_no_chain_of_a_tpm_either if {
	spread := [object.union(entry, {"components": [component]}) | some component in entry.components]
	codes(tpm_but({"reference": spread})) == {"agent_not_measured"}
	not allowed(tpm_but({"reference": spread}))
}

test_components_that_cannot_be_read_are_none if {
	every odd in ["agent", null, 7, {"agent": "agent"}, [7, null, "agent"], []] {
		doc := changed({"reference": [object.union(object.remove(entry, ["components"]), {"components": odd})]})
		not allowed(doc)
		codes(doc) == {"agent_not_measured"}
	}
}

test_the_agent_must_be_in_the_measured_chain if {
	every missing in {"firmware", "kernel", "cmdline", "rootfs", "agent"} {
		rest := [component | some component in entry.components; component != missing]
		doc := changed({"reference": [object.union(entry, {"components": rest})]})
		not allowed(doc)
		codes(doc) == {"agent_not_measured"}
	}
}

test_two_halves_of_a_chain_are_not_a_chain if {
	doc := changed({"reference": [
		object.union(entry, {"components": ["firmware", "kernel", "cmdline"]}),
		object.union(entry, {"components": ["rootfs", "agent"]}),
	]})
	codes(doc) == {"agent_not_measured"}
}

test_no_reference_value_is_no_measured_agent if codes(changed({"reference": []})) == {"agent_not_measured"}

unreviewed := [object.union(entry, {"clock": null})]

test_a_host_clock_shortens_the_lease if {
	every clock in ["host", "elsewhere", null] {
		doc := changed({"claims": {"clock": clock}, "reference": unreviewed})
		obligations(doc).ttl_seconds == 60
		allowed(doc)
	}
}

test_evidence_may_prove_the_clock if {
	doc := changed({"claims": {"clock": "protected"}, "reference": unreviewed})
	obligations(doc).ttl_seconds == 120
}

test_a_shorter_wish_than_the_clock_allows_is_kept if {
	doc := changed({"reference": unreviewed, "workload": {"ttl_seconds": 15}})
	obligations(doc).ttl_seconds == 15
}

test_a_lease_has_a_ceiling if {
	obligations(changed({"workload": {"ttl_seconds": 999999}})).ttl_seconds == 3600
}

test_a_workload_without_a_wish_gets_the_default if {
	obligations(changed({"workload": {"ttl_seconds": null}})).ttl_seconds == 300
}

test_a_development_node_gets_no_production_workload if {
	codes(changed({"node": {"development": true}})) == {"development_node"}
	codes(changed({"claims": {"development": true}})) == {"development_node"}
	not allowed(changed({"claims": {"development": true}}))
}

test_a_development_node_may_have_other_workloads if {
	allowed(changed({
		"node": {"development": true},
		"claims": {"development": true},
		"workload": {"production": false},
	}))
}

test_a_workload_that_does_not_say_is_production if {
	doc := changed({"node": {"development": true}, "workload": {"production": null}})
	codes(doc) == {"development_node"}
}

test_nothing_at_all_is_denied if {
	not allowed({})
	codes({}) == {"posture_not_compliant", "agent_not_measured", "development_node"}
	obligations({}) == {"ttl_seconds": 60}
}
