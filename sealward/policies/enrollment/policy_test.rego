package sealward.enrollment.policy_test

import rego.v1

import data.sealward.enrollment

good := {
	"claims": {
		"tee": "snp",
		"product": "Milan",
		"platform_id": "02",
		"clock": "protected",
		"development": false,
	},
	"posture": "compliant",
	"trust_vector": {},
	"reasons": [],
	"platform": {"known": true, "allowed": true},
	"join_token": null,
	"known_instance": false,
	"node": {"agent_version": "1.0"},
}

unknown := {"known": false, "allowed": false}

changed(difference) := object.union(good, difference)

answered(doc) := answer if {
	answer := enrollment.answer with input as doc
}

labelled(doc) := labels if {
	labels := enrollment.labels with input as doc
}

codes(doc) := {reason.code | some reason in found} if {
	found := enrollment.reasons with input as doc
}

test_a_compliant_node_on_a_listed_platform_is_admitted if {
	answered(good) == "admit"
	codes(good) == set()
}

test_a_measurement_alone_never_admits if {
	doc := changed({"platform": unknown})
	answered(doc) == "pend"
	codes(doc) == {"platform_unknown"}
}

test_a_known_platform_that_is_not_allowed_pends if {
	answered(changed({"platform": {"allowed": false}})) == "pend"
}

test_hardware_without_an_id_is_on_no_list if {
	answered(changed({"claims": {"platform_id": null}})) == "pend"
}

test_a_join_token_vouches_for_an_unknown_platform if {
	answered(changed({"platform": unknown, "join_token": {"valid": true}})) == "admit"
	answered(changed({"platform": unknown, "join_token": {"valid": false}})) == "pend"
}

test_an_instance_seen_before_is_no_better_than_a_new_one if {
	answered(changed({"platform": unknown, "known_instance": true})) == "pend"
}

test_a_node_that_is_not_compliant_is_rejected_in_the_words_of_its_appraisal if {
	finding := {
		"code": "debug_enabled",
		"claim": "claims.debug",
		"expected": false,
		"actual": true,
		"hint": "launch the guest with debugging disallowed by its launch policy",
	}
	every posture in ["warning", "noncompliant", "stale", "quarantined", null] {
		doc := changed({"posture": posture, "reasons": [finding], "join_token": {"valid": true}})
		answered(doc) == "reject"
		codes(doc) == {"debug_enabled", "posture_not_compliant"}
	}
}

tpm := changed({
	"claims": {"tee": "tpm", "product": "TPM 2.0 id:00001014 SW   TPM", "clock": "host"},
	"posture": "warning",
})

test_a_tpm_in_order_is_admitted_with_its_warning if {
	answered(tpm) == "admit"
	codes(tpm) == set()
}

test_a_tpm_that_nobody_vouched_for_pends if {
	doc := object.union(tpm, {"platform": unknown})
	answered(doc) == "pend"
	codes(doc) == {"platform_unknown"}
}

test_a_tpm_with_more_than_a_warning_is_rejected if {
	every posture in ["noncompliant", "stale", "quarantined", null] {
		doc := object.union(tpm, {"posture": posture, "join_token": {"valid": true}})
		answered(doc) == "reject"
		codes(doc) == {"posture_not_compliant"}
	}
}

test_a_kind_whose_best_is_a_warning_is_admitted_with_it_and_no_other_is if {
	every tee in ["google-vtpm", "psa", "nitro", "azure-snp", "azure-tdx"] {
		answered(object.union(tpm, {"claims": {"tee": tee}})) == "admit"
	}
	every tee in ["snp", "tdx", "sgx", "cca", "", null] {
		answered(object.union(tpm, {"claims": {"tee": tee}})) == "reject"
	}
}

test_a_product_of_any_kind_is_spelled_as_a_label if {
	labelled(changed({"claims": {"tee": "tdx", "product": "TDX 1.5"}}))["sealward/product"] == "TDX-1.5"
	labelled(changed({"claims": {"tee": "nitro", "product": "AWS Nitro"}}))["sealward/product"] == "AWS-Nitro"
}

test_a_product_is_spelled_as_a_label if {
	labelled(tpm)["sealward/product"] == "TPM-2.0-id-00001014-SW-TPM"
	every product, label in {
		"TPM 2.0": "TPM-2.0",
		"TPM 2.0 id:4E544300 NPCT75x\u0000\u0000": "TPM-2.0-id-4E544300-NPCT75x",
		" --x. ": "x",
		"TPM 2.0  modèle/ 7!more": "TPM-2.0-mod-le-7-more",
		"123456789 123456789 123456789 123456789 123456789 123456789 12 456789": "123456789-123456789-123456789-123456789-123456789-123456789-12",
	} {
		labelled(object.union(tpm, {"claims": {"product": product}}))["sealward/product"] == label
	}
}

test_labels_come_from_verified_claims if {
	labelled(good) == {
		"sealward/tee": "snp",
		"sealward/product": "Milan",
		"sealward/clock": "protected",
	}
	labelled(changed({"claims": {"development": true}}))["sealward/development"] == "true"
}

test_what_the_agent_says_becomes_no_label if {
	labelled(changed({"node": {"labels": {"sealward/tee": "me"}}})) == labelled(good)
}

test_nothing_at_all_is_rejected if answered({}) == "reject"
