# METADATA
# title: Shipped enrollment policy
# description: |
#   Says whether a node that has just attested belongs to us. A measurement is not an owner (F6):
#   genuine hardware that runs our public image may stand in anyone's basement, so a platform that
#   nobody vouched for waits for an administrator.
package sealward.enrollment

import rego.v1

default answer := "reject"

answer := "admit" if {
	posture_sufficient
	platform_known
} else := "pend" if {
	posture_sufficient
}

posture_sufficient if {
	input.posture == "compliant"
} else if {
	input.posture == "warning" # the best of these; what such a node may hold is the release policy's
	warns_in_order
}

warns_in_order if {
	input.claims.tee in {"tpm", "google-vtpm", "psa", "hygon-csv", "nitro", "azure-snp", "azure-tdx"}
} else if {
	is_object(input.claims.submods) # of which nothing shows that they are in this machine
}

# --- who vouches for the platform ---------------------------------------------------------------

platform_known if {
	is_string(input.claims.platform_id) # hardware behind a provider's key has no id to be on a list
	input.platform.known == true
	input.platform.allowed == true
} else if {
	input.join_token.valid == true
}

# --- labels, from verified claims only ----------------------------------------------------------

labels := object.union(from_claims, from_image)

from_claims := {
	"sealward/tee": input.claims.tee,
	"sealward/product": product_label,
	"sealward/clock": input.claims.clock,
}

product_label := input.claims.product if input.claims.tee == "snp"

# "TDX 1.5", or "TPM 2.0" and what its vendor's certificate says, in the letters and the length of a label.
product_label := trim(substring(trim(spelled, "-."), 0, 63), "-.") if {
	input.claims.tee != "snp"
	is_string(input.claims.product)
	spelled := regex.replace(input.claims.product, "[^A-Za-z0-9.]+", "-")
}

from_image := {"sealward/development": "true"} if {
	input.claims.development == true
} else := {}

# --- reasons ------------------------------------------------------------------------------------

# An admitted node has nothing to be told.
reasons contains reason if {
	answer != "admit"
	some reason in shortcomings
}

# A refused node is told why in the words of its appraisal.
shortcomings contains reason if {
	not posture_sufficient
	some reason in appraised
}

# Text is no list, and engines differ in what they make of one.
appraised := input.reasons if is_array(input.reasons)

shortcomings contains {
	"code": "posture_not_compliant",
	"claim": "posture",
	"expected": "compliant",
	"actual": object.get(input, "posture", null),
	"hint": "mend what the other reasons name and enroll again",
} if {
	not posture_sufficient
}

shortcomings contains {
	"code": "platform_unknown",
	"claim": "claims.platform_id",
	"expected": "a platform on the allow-list, or a valid join token",
	"actual": object.get(input, ["claims", "platform_id"], null),
	"hint": "add the platform to the allow-list, or enroll again with a join token; a measurement alone never admits",
} if {
	posture_sufficient
	not platform_known
}
