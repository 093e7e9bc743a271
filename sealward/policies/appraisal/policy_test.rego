package sealward.appraisal.policy_test

import rego.v1

# Rules are named by their whole path: through an import of the package, the engine would walk
# through all that lies below it, every other test included.
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
	found := data.sealward.appraisal.reasons with input as doc with data.reference as ref
}

tiers(doc, ref) := vector if {
	vector := data.sealward.appraisal.trust_vector with input as doc with data.reference as ref
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
	found := data.sealward.appraisal.reasons with input as doc with data.reference as reference
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

# --- TPM ----------------------------------------------------------------------------------------

measured := [{"name": sprintf("pcr%d", [index]), "algorithm": "sha256", "digest": sprintf("%02d", [index])} |
	some index in numbers.range(0, 8)
]

tpm_claims := {
	"tee": "tpm",
	"product": "TPM 2.0 id:00001014 swtpm",
	"instance_value": "000bff",
	"platform_id": "tpm:ek:01",
	"provider": null,
	"measurements": measured,
	"host_data": null,
	"debug": false,
	"migratable": false,
	"vmpl": null,
	"tcb": null,
	"memory_encrypted": false,
	"provider_in_tcb": true,
	"clock": "host",
	"development": false,
	"verdicts": [],
	"tpm": {"residency": "activated", "safe": true, "ek": {"sha256": "01"}},
}

tpm_good := {
	"claims": tpm_claims,
	"expected": {"trust_config_digest": "cc33"},
	"now": "2026-11-23T12:00:00Z",
}

boot := {
	"name": "golden",
	"set": "golden",
	"components": ["firmware", "kernel", "cmdline", "rootfs", "agent"],
	"clock": null,
	"trust_config": "image",
	"not_after": "2027-01-01T00:00:00Z",
}

# What the host hands over of a quote of `measured`, which one set describes.
registers := {
	"measurement": {},
	"tcb_floor": {},
	"pcr": {sprintf("sha256/%d/%02d", [index, index]): {"sets": ["golden"]} |
		some index in numbers.range(0, 8)
	},
	"boot": {"golden": boot},
	"nearest_boot": null,
}

# And of another quote, of which the set knows some registers.
unmatched(nearest) := object.union(
	object.remove(registers, ["boot"]),
	{"boot": {}, "nearest_boot": object.union({
		"set": "golden",
		"other_value": [],
		"not_quoted": [],
		"not_described": [],
	}, nearest)},
)

reason_of(code, doc, ref) := reason if {
	some reason in data.sealward.appraisal.reasons with input as doc with data.reference as ref
	reason.code == code
}

with_tpm_claims(changed) := object.union(tpm_good, {"claims": changed})

with_measured(items) := with_tpm_claims({"measurements": items})

test_a_tpm_in_order_warns_of_what_no_tpm_can_show if {
	codes(tpm_good, registers) == {"tpm_only"}
	tiers(tpm_good, registers) == {
		"instance-identity": "affirming",
		"configuration": "affirming",
		"executables": "affirming",
		"file-system": "affirming",
		"hardware": "warning",
		"runtime-opaque": "warning",
		"storage-opaque": "none",
		"sourced-data": "none",
	}
}

test_a_register_with_another_value_is_named if {
	other := [{"name": "pcr7", "algorithm": "sha256", "digest": "ff"}]
	rest := array.concat(array.slice(measured, 0, 7), array.slice(measured, 8, 9))
	doc := with_measured(array.concat(rest, other))
	ref := unmatched({"other_value": ["sha256/7"]})
	codes(doc, ref) == {"tpm_only", "unknown_measurement"}
	tiers(doc, ref).executables == "contraindicated"
	tiers(doc, ref).configuration == "contraindicated"
	reason := reason_of("unknown_measurement", doc, ref)
	reason.claim == "claims.measurements[pcr7]"
	reason.expected == "a sha256 value of this register in an active reference set"
	reason.actual == "ff"
}

test_a_register_beyond_those_asked_for_has_to_be_known_too if {
	doc := with_measured(array.concat(measured, [{"name": "pcr9", "algorithm": "sha256", "digest": "09"}]))
	codes(doc, unmatched({"not_described": ["sha256/9"]})) == {"tpm_only", "unknown_measurement"}
}

test_registers_that_are_known_one_by_one_are_no_boot if {
	ref := unmatched({
		"other_value": ["sha256/8"],
		"not_quoted": ["sha256/9", "sha256/14"],
		"not_described": ["sha256/11"],
	})
	codes(tpm_good, ref) == {"tpm_only", "boot_unknown"}
	tiers(tpm_good, ref).executables == "contraindicated"
	tiers(tpm_good, ref).configuration == "contraindicated"
	tiers(tpm_good, ref)["file-system"] == "none"
	reason := reason_of("boot_unknown", tpm_good, ref)
	reason.expected == "the registers that one reference set describes; golden comes nearest"
	reason.actual == "another value: sha256/8; not described: sha256/11; not quoted: sha256/9 sha256/14"
}

test_a_boot_that_cannot_be_read_is_none if {
	every odd in [null, "golden", ["golden"], [boot], {"golden": null}, {"golden": "golden"}, true] {
		ref := object.union(object.remove(registers, ["boot"]), {"boot": odd})
		tiers(tpm_good, ref).executables == "contraindicated"
		tiers(tpm_good, ref).configuration == "contraindicated"
		codes(tpm_good, ref) == {"tpm_only", "boot_unknown"}
	}
	tiers(tpm_good, object.remove(registers, ["boot"])).executables == "contraindicated"
}

test_what_comes_nearest_only_explains if {
	every odd in [null, "golden", {}, {"set": 7}, {"other_value": "pcr1"}, {"other_value": [7, null]}] {
		ref := object.union(object.remove(unmatched({}), ["nearest_boot"]), {"nearest_boot": odd})
		codes(tpm_good, ref) == {"tpm_only", "boot_unknown"}
	}
}

test_the_longest_explanation_fits_an_answer if {
	names := [sprintf("sha512/%d", [10 + index]) | some index in numbers.range(0, 11)]
	ref := unmatched({"other_value": names, "not_quoted": names, "not_described": names})
	count(reason_of("boot_unknown", tpm_good, ref).actual) < 512
}

test_pcr_10_counts_where_a_list_explains_it if {
	ten := {"name": "pcr10", "algorithm": "sha256", "digest": "10"}
	doc := with_measured(array.concat(measured, [ten]))
	codes(doc, registers) == {"tpm_only", "unknown_measurement"}
	tiers(doc, registers).executables == "contraindicated"
	contains(reason_of("unknown_measurement", doc, registers).hint, "leave PCR 10 out")
	list := {
		"banks": ["sha256"],
		"boot_aggregate": "confirmed",
		"violations": 0,
		"unknown": {"count": 0, "shown": []},
	}
	listed := object.union(doc, {"claims": {"ima": list}})
	codes(listed, registers) == {"tpm_only"}
	tiers(listed, registers).executables == "affirming"
	weak := object.union(listed, {"claims": {"ima": {"violations": 1}}})
	codes(weak, registers) == {"tpm_only", "ima_violations"}
	tiers(weak, registers).executables == "contraindicated"
}

test_a_value_is_known_in_its_own_register_and_bank_only if {
	every wrong in [
		{"name": "pcr6", "algorithm": "sha256", "digest": "07"},
		{"name": "pcr7", "algorithm": "sha384", "digest": "07"},
	] {
		doc := with_measured(array.concat([wrong], measured))
		codes(doc, unmatched({})) == {"tpm_only", "unknown_measurement"}
	}
}

test_a_launch_measurement_is_no_register if {
	others := {key: entry | some key, entry in registers.pcr; key != "sha256/7/07"}
	as_launch := {"measurement": {"07": image}, "tcb_floor": {}, "pcr": others, "boot": {}}
	codes(tpm_good, as_launch) == {"tpm_only", "unknown_measurement"}
}

test_a_register_is_no_launch_measurement if {
	doc := with_tpm_claims({"tee": "snp"})
	"unknown_measurement" in codes(doc, registers)
	tiers(doc, registers).executables == "contraindicated"
	tiers(doc, registers).configuration == "contraindicated"
}

test_each_of_the_boot_registers_is_missed if {
	every at in numbers.range(0, 7) {
		rest := array.concat(array.slice(measured, 0, at), array.slice(measured, at + 1, 9))
		ref := unmatched({"not_quoted": [sprintf("sha256/%d", [at])]})
		codes(with_measured(rest), ref) == {"tpm_only", "boot_unknown", "register_missing"}
		codes(with_measured(rest), registers) == {"tpm_only", "register_missing"} # whatever is said of it
		tiers(with_measured(rest), registers).executables == "contraindicated"
	}
}

test_two_halves_in_two_banks_are_no_bank if {
	halves := array.concat(
		array.slice(measured, 0, 4),
		[object.union(item, {"algorithm": "sha384"}) | some item in array.slice(measured, 4, 8)],
	)
	"register_missing" in codes(with_measured(halves), registers)
}

test_sha1_is_no_bank if {
	old := [object.union(item, {"algorithm": "sha1"}) | some item in measured]
	known := object.union(registers, {"pcr": {replace(key, "sha256", "sha1"): entry | some key, entry in registers.pcr}})
	codes(with_measured(old), known) == {"tpm_only", "register_missing"}
	reason_of("register_missing", with_measured(old), known).actual == "sha1: pcr0 pcr1 pcr2 pcr3 pcr4 pcr5 pcr6 pcr7"
	tiers(with_measured(old), known).executables == "contraindicated"
}

test_a_bank_beside_the_one_asked_for_has_to_be_known if {
	both := array.concat(measured, [{"name": "pcr0", "algorithm": "sha1", "digest": "00"}])
	codes(with_measured(both), unmatched({"not_described": ["sha1/0"]})) == {"tpm_only", "unknown_measurement"}
}

test_no_register_at_all_is_missed if {
	every ref in [registers, unmatched({})] {
		codes(with_measured([]), ref) == {"tpm_only", "measurement_missing", "register_missing"}
	}
}

test_a_value_ends_with_its_set if {
	late := object.union(tpm_good, {"now": "2027-01-01T00:00:00Z"})
	codes(late, registers) == {"tpm_only", "reference_expired"}
	tiers(late, registers).executables == "contraindicated"
}

test_a_boot_covers_the_trust_configuration if {
	every elsewhere in [null, "host_data", "Image", true] {
		bare := object.union(registers, {"boot": {"golden": {"trust_config": elsewhere}}})
		codes(tpm_good, bare) == {"tpm_only", "trust_config_not_covered"}
		tiers(tpm_good, bare).configuration == "contraindicated"
	}
}

test_files_are_vouched_for_by_a_boot_that_covers_them if {
	bare := object.union(registers, {"boot": {"golden": {"components": ["agent"]}}})
	tiers(tpm_good, bare)["file-system"] == "none"
	codes(tpm_good, bare) == {"tpm_only"}
}

test_a_key_that_may_be_in_no_tpm_is_refused if {
	every residency in ["unproven", "Activated", "", null, true] {
		doc := with_tpm_claims({"tpm": {"residency": residency}})
		codes(doc, registers) == {"tpm_only", "key_residency_unproven"}
		tiers(doc, registers)["instance-identity"] == "contraindicated"
		tiers(doc, registers).hardware == "contraindicated"
	}
}

test_a_clock_that_may_have_gone_back_is_no_failure if {
	codes(with_tpm_claims({"tpm": {"safe": false}}), registers) == {"tpm_only"}
}

test_what_an_event_log_describes_decides_nothing if {
	every log in [
		{"confirmed": [], "contradicted": [4], "repeated_separators": [], "facts": []},
		{"facts": [{"name": "secure_boot", "value": "enabled", "register": 7, "standing": "described"}]},
	] {
		codes(with_tpm_claims({"boot": log}), registers) == {"tpm_only"}
		older := {"tpm": {"event_log": log}} # where claims that were recorded before `boot` have it
		codes(with_tpm_claims(older), registers) == {"tpm_only"}
	}
}

test_a_development_root_is_explained if {
	codes(with_tpm_claims({"development": true}), registers) == {"tpm_only", "development_root"}
}

test_a_missing_claim_counts_against_a_tpm if {
	every name in ["debug", "vmpl", "migratable", "instance_value", "measurements", "tpm"] {
		doc := object.union(
			object.remove(tpm_good, ["claims"]),
			{"claims": object.remove(tpm_claims, [name])},
		)
		some tier in tiers(doc, registers)
		tier == "contraindicated"
		count(codes(doc, registers)) > 1
	}
}

test_a_flood_of_unknown_registers_still_gets_an_answer if {
	many := [{"name": sprintf("pcr%d", [index]), "algorithm": "sha512", "digest": "ff"} |
		some index in numbers.range(0, 255)
	]
	found := data.sealward.appraisal.reasons with input as with_measured(many) with data.reference as unmatched({})
	count(found) == 25
}

test_what_is_no_register_is_known_as_none if {
	every odd in [{}, {"name": 7, "algorithm": "sha256", "digest": "07"}, "pcr7", null, {"name": "pcr7"}] {
		doc := with_measured(array.concat(measured, [odd]))
		tiers(doc, unmatched({})).executables == "contraindicated"
		count(codes(doc, unmatched({}))) > 1
	}
}
