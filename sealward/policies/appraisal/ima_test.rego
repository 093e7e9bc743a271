package sealward.appraisal.ima_test

import rego.v1

import data.sealward.appraisal.ima

file := {
	"path": "/usr/bin/agent",
	"algorithm": "sha256",
	"digest": "aa11",
	"kind": "file",
	"signer": null,
}

clean := {
	"scope": "runtime",
	"as_of": "2026-11-23T12:00:00Z",
	"banks": ["sha256"],
	"entries": 1200,
	"violations": 0,
	"not_proven": 2,
	"boot_aggregate": "confirmed",
	"known": {"count": 1199, "unsigned": 1199, "signers": []},
	"unknown": {"count": 0, "shown": []},
}

found(claim, settings) := {"accepted": accepted, "codes": codes(claim, settings)} if {
	accepted := ima.accepted with input as {"claims": {"ima": claim}} with data.sealward.appraisal.settings.ima as settings
}

codes(claim, settings) := {reason.code | some reason in told} if {
	told := ima.reasons with input as {"claims": {"ima": claim}} with data.sealward.appraisal.settings.ima as settings
}

accepts(claim, settings) if found(claim, settings) == {"accepted": true, "codes": set()}

refuses(claim, settings, code) if found(claim, settings) == {"accepted": false, "codes": {code}}

with_unknown(files) := object.union(clean, {"unknown": {"count": count(files), "shown": files}})

at_path(path) := object.union(file, {"path": path})

test_a_list_of_known_files_is_accepted if accepts(clean, {})

test_no_list_is_accepted_unless_one_is_required if {
	ima.accepted with input as {"claims": {"tee": "snp"}}
	told := ima.reasons with input as {"claims": {"tee": "snp"}}
	count(told) == 0
	refuses(null, {"required": true}, "ima_missing")
	accepts(clean, {"required": true})
}

test_an_unknown_file_is_named_and_not_accepted if {
	refuses(with_unknown([file]), {}, "unknown_file")
	told := ima.reasons with input as {"claims": {"ima": with_unknown([file])}}
	some reason in told
	reason.claim == "claims.ima.unknown[/usr/bin/agent]"
	reason.actual == "sha256:aa11"
	reason.expected == "a digest in an active reference set"
}

test_a_buffer_is_judged_like_a_file_and_never_excluded if {
	buffer := object.union(file, {"path": "/usr/bin/agent", "kind": "buffer"})
	refuses(with_unknown([buffer]), {"excluded": ["/usr/"]}, "unknown_file")
}

test_what_was_not_shown_is_not_accepted if {
	more := object.union(clean, {"unknown": {"count": 3, "shown": [at_path("/srv/a")]}})
	refuses(more, {"excluded": ["/srv/"]}, "unknown_files")
	none := object.union(clean, {"unknown": {"count": 1, "shown": []}})
	refuses(none, {}, "unknown_files")
}

test_many_unknown_files_are_told_up_to_a_number if {
	files := [at_path(sprintf("/srv/%v", [n])) | some n in numbers.range(1, 40)]
	told := ima.reasons with input as {"claims": {"ima": with_unknown(files)}}
	count(told) == 17
	codes(with_unknown(files), {}) == {"unknown_file", "unknown_files"}
}

test_an_excluded_folder_covers_what_is_below_it_and_nothing_else if {
	every path in ["/srv/data/a", "/srv/data/a/b", "/srv/data/.."] {
		accepts(with_unknown([at_path(path)]), {"excluded": ["/srv/data/"]})
	}
	every path in ["/srv/data", "/srv/database/a", "/srv", "srv/data/a", "/usr/srv/data/a", ""] {
		refuses(with_unknown([at_path(path)]), {"excluded": ["/srv/data/"]}, "unknown_file")
	}
}

test_an_excluded_file_is_that_file if {
	accepts(with_unknown([at_path("/etc/ld.so.cache")]), {"excluded": ["/etc/ld.so.cache"]})
	every path in ["/etc/ld.so.cache/a", "/etc/ld.so.cache2", "/etc/ld", "/etc"] {
		refuses(with_unknown([at_path(path)]), {"excluded": ["/etc/ld.so.cache"]}, "unknown_file")
	}
}

test_a_star_stays_inside_one_name if {
	every path in ["/home/a/.cache/x", "/home/a/.cache/x/y", "/home//.cache/x"] {
		accepts(with_unknown([at_path(path)]), {"excluded": ["/home/*/.cache/"]})
	}
	every path in ["/home/a/b/.cache/x", "/home/.cache/x", "/home/a/.cache", "/home/a/.cached/x", "/root/a/.cache/x"] {
		refuses(with_unknown([at_path(path)]), {"excluded": ["/home/*/.cache/"]}, "unknown_file")
	}
	every path in ["/var/run-1.pid", "/var/run-.pid", "/var/run-a.b.pid"] {
		accepts(with_unknown([at_path(path)]), {"excluded": ["/var/run-*.pid"]})
	}
	every path in ["/var/run-1.pid/a", "/var/run-/1.pid", "/var/x/run-1.pid", "/var/run-1.pidx"] {
		refuses(with_unknown([at_path(path)]), {"excluded": ["/var/run-*.pid"]}, "unknown_file")
	}
}

test_one_file_that_nothing_covers_is_enough if {
	files := [at_path("/srv/a"), file]
	refuses(with_unknown(files), {"excluded": ["/srv/"]}, "unknown_file")
}

test_an_exclusion_that_says_too_much_or_too_little_accepts_nothing if {
	every pattern in [
		"", "/", "/*", "/*/", "srv/", "*", "/srv/**", "/srv/**/x", "/srv/?", "/srv/[ab]",
		"/srv/{a,b}", "/srv/\\*", "/srv//a", 1, null,
	] {
		refuses(clean, {"excluded": [pattern]}, "ima_settings_invalid")
	}
	wild := [sprintf("/srv/%v/*", [n]) | some n in numbers.range(1, 17)]
	refuses(clean, {"excluded": wild}, "ima_settings_invalid")
	accepts(clean, {"excluded": array.slice(wild, 0, 16)})
}

test_settings_of_other_names_or_types_accept_nothing if {
	every settings in [
		{"exclude": ["/srv/"]},
		{"required": "no"},
		{"signatures_required": 0},
		{"violations": "5"},
		{"signers": "f3452d23"},
		{"excluded": "/srv/"},
	] {
		refused_by(clean, settings)
	}
}

refused_by(claim, settings) if {
	result := found(claim, settings)
	result.accepted == false
	"ima_settings_invalid" in result.codes
}

test_a_required_setting_of_another_type_is_required if {
	not found(null, {"required": "no"}).accepted
}

test_a_signature_by_an_accepted_key_covers_an_unknown_file if {
	signed := object.union(file, {"signer": "f3452d23"})
	refuses(with_unknown([signed]), {}, "unknown_file")
	accepts(with_unknown([signed]), {"signers": ["f3452d23"]})
	refuses(with_unknown([signed]), {"signers": ["00000000"]}, "unknown_file")
	refuses(with_unknown([file]), {"signers": ["f3452d23"]}, "unknown_file")
	refuses(with_unknown([file]), {"signers": [null]}, "unknown_file")
}

test_known_files_need_signatures_only_where_they_are_required if {
	wanted := {"signatures_required": true, "signers": ["f3452d23"]}
	refuses(clean, wanted, "known_file_unsigned")
	signed := object.union(clean, {"known": {"count": 2, "unsigned": 0, "signers": ["f3452d23"]}})
	accepts(signed, wanted)
	other := object.union(clean, {"known": {"count": 2, "unsigned": 0, "signers": ["00000000", "f3452d23"]}})
	refuses(other, wanted, "known_file_unsigned")
	accepts(other, {})
}

test_a_list_proven_by_sha1_alone_is_not_accepted if {
	refuses(object.union(clean, {"banks": ["sha1"]}), {}, "ima_bank_weak")
	accepts(object.union(clean, {"banks": ["sha1", "sha384"]}), {})
}

test_a_list_that_is_sent_no_more_is_not_accepted if {
	refuses(object.union(clean, {"banks": []}), {}, "ima_stopped")
}

test_only_a_confirmed_boot_aggregate_is_accepted if {
	every state in ["contradicted", "not_quoted", "absent"] {
		refuses(object.union(clean, {"boot_aggregate": state}), {}, "ima_boot_aggregate")
	}
}

test_violations_are_tolerated_up_to_the_setting if {
	three := object.union(clean, {"violations": 3})
	refuses(three, {}, "ima_violations")
	refuses(three, {"violations": 2}, "ima_violations")
	accepts(three, {"violations": 3})
}

test_a_claim_that_is_missing_or_of_another_type_counts_against_the_node if {
	every name in ["banks", "violations", "boot_aggregate", "unknown"] {
		result := found(object.remove(clean, [name]), {})
		result.accepted == false
		count(result.codes) > 0
	}
	every claim in [{}, "text", [], true, 0] {
		result := found(claim, {})
		result.accepted == false
		count(result.codes) > 0
	}
	every shown in ["text", null, {"a": file}, 1] {
		claim := object.union(object.remove(clean, ["unknown"]), {"unknown": {"count": 1, "shown": shown}})
		found(claim, {}).accepted == false
	}
	every broken in [{}, "text", null, object.remove(file, ["path"]), object.remove(file, ["kind"])] {
		found(with_unknown([broken]), {"excluded": ["/usr/"], "signers": ["f3452d23"]}).accepted == false
	}
}

test_pcr_10_is_explained_in_the_banks_in_which_the_list_was_proven if {
	doc := {"claims": {"ima": clean}}
	ima.explains({"name": "pcr10", "algorithm": "sha256", "digest": "aa"}) with input as doc
	not ima.explains({"name": "pcr10", "algorithm": "sha384", "digest": "aa"}) with input as doc
	not ima.explains({"name": "pcr1", "algorithm": "sha256", "digest": "aa"}) with input as doc
	not ima.explains({"name": "pcr10", "algorithm": "sha256", "digest": "aa"}) with input as {"claims": {}}
}

test_pcr_10_needs_no_reference_value_beside_a_list_that_proves_it if {
	register := {"name": "pcr10", "algorithm": "sha256", "digest": "aa"}
	other := {"name": "pcr10", "algorithm": "sha384", "digest": "bb"}
	boot := {"name": "pcr0", "algorithm": "sha256", "digest": "cc"}
	doc := {"claims": {"ima": clean, "measurements": [boot, register, other]}}
	beside := data.sealward.appraisal.tpm.fixed_registers with input as doc
	beside == [boot, other]
	alone := data.sealward.appraisal.tpm.fixed_registers with input as {"claims": {"measurements": [boot, register]}}
	alone == [boot, register]
}
