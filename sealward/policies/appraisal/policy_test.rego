package sealward.appraisal.policy_test

import rego.v1

import data.sealward.appraisal

digest := "aa11"

claims := {
	"tee": "snp",
	"instance_value": "01",
	"platform_id": "02",
	"provider": null,
	"product": "Milan",
	"measurements": [{"name": "launch", "algorithm": "sha384", "digest": digest}],
	"host_data": "cc33",
	"debug": false,
	"migratable": false,
	"vmpl": 0,
	"tcb": {
		"reported": {"bootloader": 4, "tee": 0, "snp": 22, "microcode": 211},
		"committed": {"bootloader": 4, "tee": 0, "snp": 22, "microcode": 211},
	},
	"memory_encrypted": true,
	"provider_in_tcb": false,
	"clock": "protected",
	"development": false,
	"verdicts": [],
}

good := {
	"claims": claims,
	"expected": {"trust_config_digest": "cc33"},
	"now": "2026-11-23T12:00:00Z",
}

image := {
	"name": "agent-1.0",
	"set": "production",
	"components": ["firmware", "kernel", "cmdline", "rootfs", "agent"],
	"clock": "protected",
	"trust_config": "host_data",
	"not_after": "2027-01-01T00:00:00Z",
}

reference := {
	"measurement": {digest: image},
	"tcb_floor": {"snp/Milan": {"bootloader": 3, "tee": 0, "snp": 20, "microcode": 209}},
}

codes(doc, ref) := {reason.code | some reason in found} if {
	found := appraisal.reasons with input as doc with data.reference as ref
}

tiers(doc, ref) := vector if {
	vector := appraisal.trust_vector with input as doc with data.reference as ref
}

with_claims(changed) := object.union(good, {"claims": changed})

without_claim(name) := object.union(
	object.remove(good, ["claims"]),
	{"claims": object.remove(claims, [name])},
)

test_a_node_in_order_has_no_reasons if codes(good, reference) == set()

test_a_node_in_order_is_affirmed_where_evidence_speaks if {
	tiers(good, reference) == {
		"instance-identity": "affirming",
		"configuration": "affirming",
		"executables": "affirming",
		"file-system": "affirming",
		"hardware": "affirming",
		"runtime-opaque": "affirming",
		"storage-opaque": "none",
		"sourced-data": "none",
	}
}

test_an_unknown_measurement_is_named if {
	doc := with_claims({"measurements": [{"name": "launch", "algorithm": "sha384", "digest": "ff"}]})
	found := appraisal.reasons with input as doc with data.reference as reference
	some reason in found
	reason.code == "unknown_measurement"
	reason.claim == "claims.measurements[launch]"
	reason.expected == "a digest in an active reference set"
	reason.actual == "ff"
	tiers(doc, reference).executables == "contraindicated"
	tiers(doc, reference)["file-system"] == "none"
}

test_one_unknown_measurement_among_known_ones_counts if {
	doc := with_claims({"measurements": [
		{"name": "launch", "algorithm": "sha384", "digest": digest},
		{"name": "runtime", "algorithm": "sha384", "digest": "ff"},
	]})
	codes(doc, reference) == {"unknown_measurement"}
}

test_no_measurement_is_no_known_measurement if {
	codes(with_claims({"measurements": []}), reference) == {"measurement_missing"}
	tiers(with_claims({"measurements": []}), reference).executables == "contraindicated"
}

test_every_component_of_the_floor_counts if {
	every name in ["bootloader", "snp", "microcode"] {
		doc := with_claims({"tcb": {"reported": {name: 0}}})
		"tcb_below_floor" in codes(doc, reference)
		tiers(doc, reference).hardware == "contraindicated"
	}
}

test_a_level_that_is_no_number_is_below_any_floor if {
	"tcb_below_floor" in codes(with_claims({"tcb": {"reported": {"snp": "999"}}}), reference)
}

test_a_level_that_is_exactly_the_floor_is_enough if {
	exact := object.union(reference, {"tcb_floor": {"snp/Milan": claims.tcb.reported}})
	codes(good, exact) == set()
}

test_an_empty_floor_is_no_floor if {
	empty := object.union(object.remove(reference, ["tcb_floor"]), {"tcb_floor": {"snp/Milan": {}}})
	tiers(good, empty).hardware == "contraindicated"
}

test_a_product_without_a_floor_is_contraindicated if {
	codes(with_claims({"product": "Turin"}), reference) == {"tcb_floor_missing"}
	codes(with_claims({"product": null}), reference) == {"tcb_floor_missing"}
}

test_an_uncommitted_level_is_a_warning if {
	doc := with_claims({"tcb": {"committed": {"snp": 19}}})
	codes(doc, reference) == {"tcb_not_committed"}
	tiers(doc, reference).hardware == "warning"
}

test_a_contraindication_outweighs_a_warning if {
	doc := with_claims({"tcb": {"reported": {"snp": 1}, "committed": {"snp": 1}}})
	tiers(doc, reference).hardware == "contraindicated"
}

test_another_trust_configuration_is_refused if {
	codes(with_claims({"host_data": "00"}), reference) == {"trust_config_mismatch"}
	codes(with_claims({"host_data": null}), reference) == {"trust_config_mismatch"}
}

test_an_image_may_carry_the_trust_configuration if {
	baked := object.union(reference, {"measurement": {digest: {"trust_config": "image"}}})
	codes(with_claims({"host_data": "00"}), baked) == set()
}

test_an_entry_that_does_not_say_where_is_refused if {
	silent := object.union(reference, {"measurement": {digest: {"trust_config": null}}})
	codes(good, silent) == {"trust_config_mismatch"}
}

test_a_reference_value_ends if {
	late := object.union(good, {"now": "2027-01-01T00:00:00Z"})
	codes(late, reference) == {"reference_expired"}
	tiers(late, reference).executables == "contraindicated"
	forever := object.union(reference, {"measurement": {digest: {"not_after": null}}})
	codes(late, forever) == set()
}

test_what_the_verifier_also_judges_is_explained if {
	codes(with_claims({"debug": true}), reference) == {"debug_enabled"}
	codes(with_claims({"vmpl": 1}), reference) == {"vmpl_unexpected"}
	codes(with_claims({"migratable": true}), reference) == {"migration_enabled"}
	codes(with_claims({"memory_encrypted": false}), reference) == {"memory_not_encrypted"}
	codes(with_claims({"instance_value": ""}), reference) == {"instance_value_missing"}
	codes(with_claims({"development": true}), reference) == {"development_root"}
	codes(with_claims({"provider_in_tcb": true}), reference) == {"provider_in_tcb"}
}

test_a_missing_claim_counts_against_the_node if {
	every name in [
		"debug", "vmpl", "migratable", "memory_encrypted", "instance_value", "host_data", "product",
		"measurements", "tcb", "provider_in_tcb", "tee",
	] {
		some dimension, tier in tiers(without_claim(name), reference)
		not dimension in {"storage-opaque", "sourced-data", "file-system"}
		tier != "affirming"
		count(codes(without_claim(name), reference)) > 0
	}
}

test_nothing_at_all_is_contraindicated if {
	every doc in [{}, {"claims": null}, {"claims": "text"}, {"claims": {"measurements": [{}]}}] {
		vector := tiers(doc, {})
		every name in ["instance-identity", "configuration", "executables", "hardware", "runtime-opaque"] {
			vector[name] == "contraindicated"
		}
		vector["file-system"] == "none"
		count(codes(doc, {})) > 0
	}
}
