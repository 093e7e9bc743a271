package sealward.appraisal.kinds_test

import rego.v1

# Rules are named by their whole path, as policy_test.rego says why.
codes(doc, ref) := {reason.code | some reason in found} if {
	found := data.sealward.appraisal.reasons with input as doc with data.reference as ref
}

tiers(doc, ref) := vector if {
	vector := data.sealward.appraisal.trust_vector with input as doc with data.reference as ref
}

common := {
	"instance_value": "01",
	"platform_id": "02",
	"provider": null,
	"host_data": null,
	"debug": false,
	"migratable": false,
	"vmpl": null,
	"tcb": null,
	"memory_encrypted": true,
	"provider_in_tcb": false,
	"clock": "host",
	"development": false,
	"verdicts": [],
	"collateral": {"revocation": "checked"},
}

about(claims) := {
	"claims": object.union(common, claims),
	"expected": {"trust_config_digest": "cc33"},
	"now": "2026-11-23T12:00:00Z",
}

but(doc, changed) := object.union(doc, {"claims": changed})

entry := {
	"name": "golden",
	"set": "golden",
	"components": ["firmware", "kernel", "cmdline", "rootfs", "agent"],
	"clock": null,
	"trust_config": "image",
	"not_after": "2027-01-01T00:00:00Z",
}

launched := {
	"measurement": {},
	"tcb_floor": {},
	"register": {},
	"boot": {"golden": entry},
	"nearest_boot": null,
}

unmatched(registers) := {
	"measurement": {},
	"tcb_floor": {},
	"register": {key: {"sets": ["golden"]} | some key in registers},
	"boot": {},
	"nearest_boot": {"set": "golden", "other_value": ["tdx/rtmr1"], "not_quoted": [], "not_described": []},
}

without_pins := object.union(launched, {"boot": {"golden": {"trust_config": null}}})

affirmed := {
	"instance-identity": "affirming",
	"configuration": "affirming",
	"executables": "affirming",
	"file-system": "affirming",
	"hardware": "affirming",
	"runtime-opaque": "affirming",
	"storage-opaque": "none",
	"sourced-data": "none",
}

measured(names) := [{"name": name, "algorithm": "sha384", "digest": sprintf("%v-digest", [name])} |
	some name in names
]

# --- Intel --------------------------------------------------------------------------------------

tdx := about({
	"tee": "tdx",
	"product": "TDX 1.5",
	"measurements": measured(["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"]),
	"tcb": {"reported": {"sgx01": 7, "tdx01": 5, "pcesvn": 13}},
	"tcb_status": "UpToDate",
	"advisories": [],
	"clock": "protected",
})

sgx := about({
	"tee": "sgx",
	"product": "SGX",
	"measurements": measured(["mrenclave", "mrsigner"]),
	"tcb": {"reported": {"sgx01": 7, "pcesvn": 13}},
	"tcb_status": "UpToDate",
	"advisories": [],
})

with_floor(levels) := object.union(launched, {"tcb_floor": {"tdx/TDX-1.5": levels}})

with_settings(doc, ref, settings) := vector if {
	vector := data.sealward.appraisal.trust_vector with input as doc with data.reference as ref with data.sealward.appraisal.settings.intel as settings
}

test_an_intel_guest_in_order_is_affirmed if {
	every doc in [tdx, sgx] {
		tiers(doc, launched) == affirmed
		codes(doc, launched) == set()
	}
}

test_a_launch_that_no_set_describes_is_not_affirmed_and_its_registers_are_named if {
	known := ["tdx/mrtd/mrtd-digest", "tdx/rtmr0/rtmr0-digest"]
	tiers(tdx, unmatched(known)).executables == "contraindicated"
	found := data.sealward.appraisal.reasons with input as tdx with data.reference as unmatched(known)
	{reason.claim | some reason in found; reason.code == "unknown_measurement"} == {
		"claims.measurements[rtmr1]",
		"claims.measurements[rtmr2]",
		"claims.measurements[rtmr3]",
	}
}

test_registers_that_are_known_one_by_one_are_no_launch if {
	known := [sprintf("tdx/%v/%v-digest", [name, name]) | some name in ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"]]
	tiers(tdx, unmatched(known)).executables == "contraindicated"
	codes(tdx, unmatched(known)) == {"boot_unknown"}
}

test_the_pins_of_a_td_stand_in_mrconfigid_or_in_its_image if {
	tiers(tdx, without_pins).configuration == "contraindicated"
	codes(tdx, without_pins) == {"trust_config_mismatch"}
	tiers(but(tdx, {"host_data": "cc33"}), without_pins) == affirmed
	tiers(but(tdx, {"host_data": "cc34"}), without_pins).configuration == "contraindicated"
	tiers(but(sgx, {"host_data": "cc33"}), without_pins).configuration == "contraindicated"
}

test_intel_s_status_decides_about_the_hardware if {
	expected := {
		"UpToDate": "affirming",
		"SWHardeningNeeded": "warning",
		"ConfigurationNeeded": "warning",
		"ConfigurationAndSWHardeningNeeded": "warning",
		"TDRelaunchAdvised": "warning",
		"TDRelaunchAdvisedConfigurationNeeded": "warning",
		"OutOfDate": "contraindicated",
		"OutOfDateConfigurationNeeded": "contraindicated",
		"Revoked": "contraindicated",
		"Fine": "contraindicated",
		"": "contraindicated",
	}
	every status, tier in expected {
		tiers(but(tdx, {"tcb_status": status}), launched).hardware == tier
	}
	every status in [null, true, 0, ["UpToDate"]] {
		tiers(but(tdx, {"tcb_status": status}), launched).hardware == "contraindicated"
	}
}

test_each_status_that_is_not_affirmed_has_its_reason if {
	codes(but(tdx, {"tcb_status": "SWHardeningNeeded"}), launched) == {"tcb_status_not_accepted"}
	codes(but(tdx, {"tcb_status": "OutOfDate"}), launched) == {"tcb_out_of_date"}
	codes(but(tdx, {"tcb_status": "Revoked"}), launched) == {"tcb_status_not_accepted"}
}

test_a_status_is_accepted_by_name_or_by_all_of_its_advisories if {
	hardening := but(tdx, {"tcb_status": "SWHardeningNeeded", "advisories": ["INTEL-SA-1", "INTEL-SA-2"]})
	with_settings(hardening, launched, {"accepted_statuses": ["SWHardeningNeeded"]}).hardware == "affirming"
	with_settings(hardening, launched, {"accepted_statuses": ["ConfigurationNeeded"]}).hardware == "warning"
	with_settings(hardening, launched, {"accepted_advisories": ["INTEL-SA-2", "INTEL-SA-1"]}).hardware == "affirming"
	with_settings(hardening, launched, {"accepted_advisories": ["INTEL-SA-1"]}).hardware == "warning"
	none := but(tdx, {"tcb_status": "SWHardeningNeeded", "advisories": []})
	with_settings(none, launched, {"accepted_advisories": ["INTEL-SA-1"]}).hardware == "warning"
	every settings in [{"accepted_statuses": "SWHardeningNeeded"}, "all", null, {"accepted_statuses": {}}] {
		with_settings(hardening, launched, settings).hardware == "warning"
	}
	revoked := but(tdx, {"tcb_status": "Revoked"})
	with_settings(revoked, launched, {"accepted_statuses": ["Revoked", "OutOfDate"]}).hardware == "contraindicated"
}

test_a_floor_asks_for_more_and_can_accept_what_is_out_of_date if {
	tiers(tdx, with_floor({"sgx01": 7, "tdx01": 5})) == affirmed
	tiers(tdx, with_floor({"sgx01": 7, "tdx01": 6})).hardware == "contraindicated"
	codes(tdx, with_floor({"sgx01": 7, "tdx01": 6})) == {"tcb_below_floor"}
	late := but(tdx, {"tcb_status": "OutOfDate"})
	tiers(late, with_floor({"sgx01": 7, "tdx01": 5})) == affirmed
	tiers(late, with_floor({"sgx01": 8})).hardware == "contraindicated"
	tiers(late, with_floor({})).hardware == "contraindicated"
	tiers(late, with_floor({"sgx16": 0})).hardware == "contraindicated"
	tiers(but(late, {"tcb": {"reported": {"sgx01": "9"}}}), with_floor({"sgx01": 7})).hardware == "contraindicated"
	configuration := but(tdx, {"tcb_status": "OutOfDateConfigurationNeeded"})
	tiers(configuration, with_floor({"sgx01": 7})).hardware == "warning"
}

test_lists_that_nobody_asked_are_a_reason if {
	doc := but(tdx, {"collateral": {"revocation": "absent"}})
	tiers(doc, launched).hardware == "warning"
	codes(doc, launched) == {"revocation_unchecked"}
}

# --- Nitro --------------------------------------------------------------------------------------

nitro := about({
	"tee": "nitro",
	"product": "AWS Nitro",
	"measurements": measured(["pcr0", "pcr1", "pcr2", "pcr4"]),
	"memory_encrypted": false,
	"provider_in_tcb": true,
	"nitro": {},
})

test_a_nitro_enclave_in_order_warns_of_its_hypervisor if {
	tiers(nitro, launched) == object.union(affirmed, {"runtime-opaque": "warning"})
	codes(nitro, launched) == {"memory_not_encrypted"}
}

test_a_register_of_the_parent_instance_is_no_part_of_the_image if {
	found := data.sealward.appraisal.reasons with input as nitro with data.reference as unmatched([])
	{reason.claim | some reason in found; reason.code == "unknown_measurement"} == {
		"claims.measurements[pcr0]",
		"claims.measurements[pcr1]",
		"claims.measurements[pcr2]",
	}
}

test_an_enclave_under_debugging_or_without_pins_is_refused if {
	tiers(but(nitro, {"debug": true}), launched)["runtime-opaque"] == "contraindicated"
	tiers(but(nitro, {"debug": true}), launched).configuration == "contraindicated"
	tiers(nitro, without_pins).configuration == "contraindicated"
	"trust_config_not_covered" in codes(nitro, without_pins)
}

# --- Azure --------------------------------------------------------------------------------------

pcrs := [{"name": sprintf("pcr%v", [index]), "algorithm": "sha256", "digest": sprintf("%v", [index])} |
	some index in numbers.range(0, 7)
]

azure_snp := about({
	"tee": "azure-snp",
	"product": "Milan",
	"measurements": array.concat(measured(["launch"]), pcrs),
	"tcb": {"reported": {"snp": 22}, "committed": {"snp": 22}},
	"provider_in_tcb": true,
	"tpm": {"residency": "measured"},
	"azure": {},
})

azure_tdx := about({
	"tee": "azure-tdx",
	"product": "TDX 1.5",
	"measurements": array.concat(
		array.concat(measured(["mrtd"]), [{"name": "rtmr0", "algorithm": "sha384", "digest": "0000"}]),
		pcrs,
	),
	"tcb_status": "UpToDate",
	"advisories": [],
	"provider_in_tcb": true,
	"tpm": {"residency": "measured"},
	"azure": {},
})

paravisor := {
	"name": "paravisor",
	"set": "azure",
	"components": ["firmware", "paravisor"],
	"clock": null,
	"trust_config": "image",
	"not_after": null,
}

kept := {
	"measurement": {"launch-digest": paravisor, "mrtd-digest": paravisor},
	"tcb_floor": {"azure-snp/Milan": {"snp": 20}},
	"pcr": {},
	"boot": {"golden": entry},
	"nearest_boot": null,
}

test_an_azure_machine_in_order_warns_of_its_paravisor if {
	every doc in [azure_snp, azure_tdx] {
		tiers(doc, kept) == object.union(affirmed, {"runtime-opaque": "warning"})
		codes(doc, kept) == {"provider_in_tcb"}
	}
}

test_a_paravisor_that_is_unknown_vouches_for_nothing if {
	every doc in [azure_snp, azure_tdx] {
		ref := object.union(object.remove(kept, ["measurement"]), {"measurement": {}})
		tiers(doc, ref).executables == "contraindicated"
		"unknown_measurement" in codes(doc, ref)
	}
	extended := array.concat(azure_tdx.claims.measurements, measured(["rtmr3"]))
	tiers(but(azure_tdx, {"measurements": extended}), kept).executables == "contraindicated"
}

test_a_known_guest_is_no_paravisor if {
	guest := object.union(paravisor, {"components": ["firmware", "kernel", "cmdline", "rootfs", "agent"]})
	every doc in [azure_snp, azure_tdx] {
		ref := object.union(kept, {"measurement": {"launch-digest": guest, "mrtd-digest": guest}})
		tiers(doc, ref).executables == "contraindicated"
		"unknown_measurement" in codes(doc, ref)
	}
}

test_a_boot_of_azure_s_tpm_has_to_be_known if {
	ref := object.union(object.remove(kept, ["boot"]), {"boot": {}})
	tiers(azure_snp, ref).executables == "contraindicated"
	tiers(azure_snp, ref).configuration == "contraindicated"
}

test_a_key_that_the_paravisor_does_not_name_is_nobody_s if {
	doc := but(azure_snp, {"tpm": {"residency": "unproven"}})
	tiers(doc, kept)["instance-identity"] == "contraindicated"
	"key_residency_unproven" in codes(doc, kept)
}

test_azure_s_hardware_is_judged_as_that_hardware_is if {
	low := object.union(kept, {"tcb_floor": {"azure-snp/Milan": {"snp": 23}}})
	tiers(azure_snp, low).hardware == "contraindicated"
	late := but(azure_tdx, {"tcb_status": "OutOfDate"})
	tiers(late, kept).hardware == "contraindicated"
	"tcb_out_of_date" in codes(late, kept)
}

# --- Google -------------------------------------------------------------------------------------

google := about({
	"tee": "google-vtpm",
	"product": "TPM 2.0 Google vTPM",
	"measurements": pcrs,
	"memory_encrypted": false,
	"provider_in_tcb": true,
	"tpm": {"residency": "certified"},
})

test_a_virtual_tpm_that_google_certifies_is_judged_as_a_tpm if {
	ref := object.union(kept, {"measurement": {}, "tcb_floor": {}})
	tiers(google, ref) == object.union(affirmed, {"hardware": "warning", "runtime-opaque": "warning"})
	codes(google, ref) == {"tpm_only"}
	tiers(but(google, {"tpm": {"residency": "unproven"}}), ref).hardware == "contraindicated"
	tiers(but(google, {"tee": "tpm"}), ref).hardware == "contraindicated" # whose key no one certifies
}

# --- Arm ----------------------------------------------------------------------------------------

cca := about({
	"tee": "cca",
	"product": "Arm CCA",
	"measurements": measured(["rim"]),
	"cca": {"lifecycle_state": "secured", "components": [{"measurement": "fw"}]},
})

psa := about({
	"tee": "psa",
	"product": "Arm PSA",
	"measurements": measured(["BL"]),
	"memory_encrypted": false,
	"provider_in_tcb": true,
	"psa": {"lifecycle_state": "secured"},
})

test_a_realm_in_order_is_affirmed if {
	tiers(cca, launched) == affirmed
	codes(cca, launched) == set()
}

test_firmware_of_the_platform_that_is_unknown_is_named if {
	found := data.sealward.appraisal.reasons with input as cca with data.reference as unmatched(["cca/rim/rim-digest"])
	{reason.actual | some reason in found; reason.code == "unknown_measurement"} == {"fw"}
}

test_a_root_of_trust_in_order_warns_of_what_it_cannot_show if {
	tiers(psa, launched) == object.union(affirmed, {"hardware": "warning", "runtime-opaque": "warning"})
	codes(psa, launched) == {"root_of_trust_only"}
}

test_an_arm_device_that_is_not_secured_or_that_nobody_vouches_for_is_refused if {
	open := but(cca, {"cca": {"lifecycle_state": "non_psa_rot_debug"}})
	tiers(open, launched).hardware == "contraindicated"
	tiers(open, launched).configuration == "contraindicated"
	"lifecycle_not_secured" in codes(open, launched)
	stranger := but(psa, {"platform_id": null})
	tiers(stranger, launched).hardware == "contraindicated"
	"platform_not_vouched_for" in codes(stranger, launched)
}

# --- Hygon --------------------------------------------------------------------------------------

hygon := about({
	"tee": "hygon-csv",
	"product": "Hygon CSV",
	"measurements": measured(["launch"]),
	"hygon": {"policy_flags": {"encrypted_state": true, "csv3": true}},
})

test_a_csv3_guest_in_order_warns_of_the_firmware_that_its_report_does_not_name if {
	tiers(hygon, launched) == object.union(affirmed, {"hardware": "warning"})
	codes(hygon, launched) == {"tcb_level_unsaid"}
}

test_a_guest_whose_page_tables_or_registers_the_host_keeps_is_not_opaque if {
	older := but(hygon, {"provider_in_tcb": true, "hygon": {"policy_flags": {"encrypted_state": true, "csv3": false}}})
	tiers(older, launched)["runtime-opaque"] == "warning"
	open := but(hygon, {"provider_in_tcb": true, "hygon": {"policy_flags": {"encrypted_state": false, "csv3": false}}})
	tiers(open, launched)["runtime-opaque"] == "contraindicated"
	"guest_state_not_encrypted" in codes(open, launched)
}

test_nothing_of_a_csv_launch_that_nobody_knows_is_affirmed if {
	vector := tiers(hygon, unmatched([]))
	vector.hardware == "warning"
	every name in ["configuration", "executables", "runtime-opaque"] {
		vector[name] == "contraindicated"
	}
	"unknown_measurement" in codes(hygon, unmatched([]))
}

# --- devices ------------------------------------------------------------------------------------

gpu := object.union(common, {
	"tee": "nvidia-gpu",
	"product": "GH100",
	"gpu": {
		"cc_mode": "single",
		"devtools": null,
		"ppcie": false,
		"binding": "agent-asserted",
		"rim": {"driver": "matched", "vbios": "matched", "mismatched": []},
	},
})

with_gpu(doc, changed) := but(doc, {"submods": {"gpu-0": object.union(gpu, changed)}})

bare := object.union(affirmed, {"file-system": "none"})

test_a_device_in_order_beside_a_measured_agent_is_affirmed if {
	doc := with_gpu(tdx, {})
	tiers(doc, launched) == object.union(affirmed, {"submods": {"gpu-0": bare}})
	codes(doc, launched) == set()
}

test_a_device_that_only_an_unmeasured_agent_speaks_of_is_not_affirmed if {
	some_chain := object.union(launched, {"boot": {"golden": {"components": ["firmware", "kernel"]}}})
	tiers(with_gpu(tdx, {}), some_chain).submods["gpu-0"].hardware == "warning"
	codes(with_gpu(tdx, {}), some_chain) == {"device_binding_unproven"}
	tiers(with_gpu(tdx, {"gpu": {"binding": "tdisp"}}), some_chain).submods["gpu-0"].hardware == "affirming"
	tiers(with_gpu(tdx, {"gpu": {"binding": "hearsay"}}), launched).submods["gpu-0"].hardware == "warning"
}

test_a_device_with_firmware_that_no_manifest_knows_is_refused if {
	every rim in [{"driver": "mismatched"}, {"vbios": "mismatched"}, {"driver": null}, {"mismatched": ["driver:3"]}] {
		doc := with_gpu(tdx, {"gpu": {"rim": rim}})
		tiers(doc, launched).submods["gpu-0"].executables == "contraindicated"
		"device_firmware_unknown" in codes(doc, launched)
	}
}

test_a_device_that_is_not_protected_is_refused if {
	every changed in [{"cc_mode": "off"}, {"devtools": true}, {"cc_mode": "multi"}] {
		doc := with_gpu(tdx, {"gpu": changed})
		tiers(doc, launched).submods["gpu-0"].configuration == "contraindicated"
		"device_unprotected" in codes(doc, launched)
	}
	tiers(with_gpu(tdx, {"gpu": {"cc_mode": "multi", "ppcie": true}}), launched).submods["gpu-0"].configuration == "affirming"
}

test_a_switch_has_no_driver if {
	doc := with_gpu(tdx, {"tee": "nvidia-switch", "gpu": {"rim": {"driver": null}, "cc_mode": null}})
	tiers(doc, launched).submods["gpu-0"] == bare
}

test_a_device_whose_revocation_nobody_asked_is_not_affirmed if {
	doc := with_gpu(tdx, {"collateral": {"revocation": "absent"}})
	tiers(doc, launched).submods["gpu-0"].hardware == "warning"
	codes(doc, launched) == {"revocation_unchecked"}
}

test_anything_else_beside_a_machine_is_refused if {
	every strange in [{"tee": "tpm"}, {"tee": "snp"}, {"tee": null}, {"gpu": null}] {
		doc := with_gpu(tdx, strange)
		tiers(doc, launched).submods["gpu-0"].executables == "contraindicated"
	}
}

test_devices_beside_a_guest_of_amd_are_judged_as_well if {
	snp := about({
		"tee": "snp",
		"product": "Milan",
		"measurements": measured(["launch"]),
		"host_data": "cc33",
		"vmpl": 0,
		"tcb": {"reported": {"snp": 22}, "committed": {"snp": 22}},
	})
	image := object.union(entry, {"trust_config": "host_data"})
	ref := {"measurement": {"launch-digest": image}, "tcb_floor": {"snp/Milan": {"snp": 20}}}
	tiers(with_gpu(snp, {}), ref) == object.union(affirmed, {"submods": {"gpu-0": bare}})
	codes(with_gpu(snp, {}), ref) == set()
	codes(with_gpu(but(snp, {"host_data": "00"}), {}), ref) == {"trust_config_mismatch"}
}

# --- kinds that nobody knows --------------------------------------------------------------------

test_a_kind_without_rules_is_not_trusted if {
	every tee in ["nvidia-gpu", "sev", "TDX", "", null, true, 0] {
		doc := but(tdx, {"tee": tee})
		vector := tiers(doc, launched)
		every name in ["instance-identity", "configuration", "executables", "hardware", "runtime-opaque"] {
			vector[name] == "contraindicated"
		}
		"tee_unknown" in codes(doc, launched)
	}
}

test_what_is_missing_or_of_another_type_is_never_affirmed if {
	every doc in [tdx, nitro, azure_snp, azure_tdx, google, cca, psa, hygon] {
		every name in ["debug", "migratable", "instance_value", "measurements"] {
			every ref in [launched, kept] {
				less := object.union(object.remove(doc, ["claims"]), {"claims": object.remove(doc.claims, [name])})
				vector := tiers(less, ref)
				"contraindicated" in vector
			}
		}
	}
}
