# METADATA
# title: What the kernel measured at run time
# description: |
#   Judges `input.claims.ima`: files and buffers that Linux measured since boot, as far as a quote
#   proves them (docs/specs/ima-claims.md). The host has matched digests with reference values; what
#   is left here is unknown, and is accepted only where a setting covers it.
#
#   Settings are data of the bundle, `sealward.appraisal.settings.ima` in data.json: `required`,
#   `excluded`, `signers`, `signatures_required`, `violations`. A setting of another type than it
#   should have accepts nothing.
#
#   A policy of a team or workload takes this file along under its own package.
package sealward.appraisal.ima

import rego.v1

# Nothing was sent, and nobody asked.
accepted if {
	object.get(input, ["claims", "ima"], null) == null
	not given.required
} else if {
	present
	bank_strong
	aggregate_confirmed
	violations_tolerated
	files_accepted
	known_signed
	settings_valid
} else := false

# PCR 10 follows the list and has no reference value: with a list that proves it, it needs none.
explains(measured) if {
	measured.name == "pcr10"
	measured.algorithm in banks
}

# --- settings -----------------------------------------------------------------------------------

# A whole path to settings that are not there would not load beside other settings in every engine.
given := object.get(data.sealward.appraisal.settings, "ima", {})

default configured := {}

configured := given if is_object(given)

settings := object.union(
	{"required": false, "excluded": [], "signers": [], "signatures_required": false, "violations": 0},
	configured,
)

default settings_valid := false

settings_valid if {
	not given_strange
	count(settings) == 5 # a misspelled one must not be passed over
	is_boolean(settings.required)
	is_boolean(settings.signatures_required)
	is_number(settings.violations)
	is_array(settings.signers)
	is_array(settings.excluded)
	every pattern in excluding {
		pattern_valid(pattern)
	}
	count(wildcards) <= most_wildcards
}

given_strange if {
	value := given
	not is_object(value)
}

default signers := []

signers := settings.signers if is_array(settings.signers)

default excluding := []

excluding := settings.excluded if is_array(settings.excluded)

# --- the list as such ---------------------------------------------------------------------------

absent if object.get(input, ["claims", "ima"], null) == null

default banks := []

banks := input.claims.ima.banks if is_array(input.claims.ima.banks)

present if not absent

bank_strong if {
	some bank in banks
	bank in {"sha256", "sha384", "sha512"}
}

stopped if input.claims.ima.banks == [] # what was proven before, and not by this quote

aggregate_confirmed if input.claims.ima.boot_aggregate == "confirmed"

violations_tolerated if {
	is_number(input.claims.ima.violations) # in Rego every text is greater than every number
	is_number(settings.violations)
	input.claims.ima.violations <= settings.violations
}

# --- files --------------------------------------------------------------------------------------

# All or none: what cannot be read must not be passed over, and engines differ in what they make of
# looking into it.
default shown := []

shown := listed if {
	every file in listed {
		readable(file)
	}
}

listed := input.claims.ima.unknown.shown if is_array(input.claims.ima.unknown.shown)

readable(file) if {
	is_object(file)
	every name in ["path", "algorithm", "digest", "kind"] {
		is_string(object.get(file, name, null))
	}
}

default all_shown := false

all_shown if input.claims.ima.unknown.count == count(shown)

files_accepted if {
	all_shown
	count(refused) == 0
}

refused := [file |
	some file in shown
	not excluded(file)
	not signed(file)
]

default known_signers := []

known_signers := input.claims.ima.known.signers if is_array(input.claims.ima.known.signers)

# Where no signature is asked for it makes no difference how many of the known files have one.
known_signed if settings.signatures_required == false

known_signed if {
	input.claims.ima.known.unsigned == 0
	every signer in known_signers {
		signer in signers
	}
}

signed(file) if {
	signer := object.get(file, "signer", null)
	is_string(signer)
	signer in signers
}

# --- excluded paths -----------------------------------------------------------------------------

# A pattern names a file, or all below a folder when it ends in "/". "*" stands for any part of one
# name. More is not offered: engines differ in what else their globs mean.
pattern_valid(pattern) if {
	is_string(pattern)
	startswith(pattern, "/")
	not pattern in {"/", "/*", "/*/"}
	count(pattern) <= 512
	not strange(pattern)
}

strange(pattern) if {
	some sign in ["**", "?", "[", "]", "{", "}", "\\", "//"]
	contains(pattern, sign)
}

most_wildcards := 16 # each is tried on each unknown file, within one decision

patterns contains pattern if {
	some pattern in excluding
	pattern_valid(pattern)
}

plain := {pattern | some pattern in patterns; not contains(pattern, "*")}

folders := {pattern | some pattern in plain; endswith(pattern, "/")}

wildcards := [{"head": split(pattern, "*")[0], "names": split(pattern, "/")} |
	some pattern in (patterns - plain)
]

excluded(file) if {
	file.kind == "file"
	file.path in plain
}

excluded(file) if {
	file.kind == "file"
	strings.any_prefix_match(file.path, folders)
}

excluded(file) if {
	file.kind == "file"
	some pattern in wildcards
	startswith(file.path, pattern.head) # settles most, at the least cost
	fits(pattern.names, split(file.path, "/"))
}

# Name by name; behind a last "/" there is an empty name, which any one or more fit.
fits(names, parts) if {
	last := count(names) - 1
	deep_enough(names[last], count(parts) - count(names))
	every place, name in names {
		same(name, parts[place])
	}
}

deep_enough("", more) if more >= 0

deep_enough(name, 0) if name != ""

same("", _) := true

same(name, part) if name == part

same(name, part) if {
	contains(name, "*")
	glob.match(name, ["/"], part)
}

# --- explanations -------------------------------------------------------------------------------

most_told := 16 # an answer holds 64 reasons, of all rules together

reasons contains {
	"code": "ima_missing",
	"claim": "claims.ima",
	"expected": "the kernel's measurement list, proven by PCR 10",
	"actual": null,
	"hint": "boot with an IMA policy, let the agent quote PCR 10 and send the list",
} if {
	absent
	given.required != false
}

reasons contains {
	"code": "ima_settings_invalid",
	"claim": "claims.ima",
	"expected": "settings of the names and types in docs/specs/ima-claims.md",
	"actual": concat(", ", sort([pattern |
		some pattern in excluding
		is_string(pattern)
		not pattern_valid(pattern)
	])),
	"hint": "mend settings.ima in the policy's data.json; an excluded path begins with / and has no wildcard but *",
} if {
	present
	not settings_valid
}

reasons contains {
	"code": "ima_bank_weak",
	"claim": "claims.ima.banks",
	"expected": "PCR 10 proven in a SHA-2 bank",
	"actual": concat(", ", [bank | some bank in banks; is_string(bank)]),
	"hint": "let the agent quote PCR 10 of the sha256 bank",
} if {
	present
	not stopped
	not bank_strong
}

reasons contains {
	"code": "ima_stopped",
	"claim": "claims.ima",
	"expected": "the measurement list with every evidence of a node that has sent it once",
	"actual": null,
	"hint": "find out why the agent sends it no more; a restarted agent is a new instance",
} if {
	stopped
}

reasons contains {
	"code": "ima_boot_aggregate",
	"claim": "claims.ima.boot_aggregate",
	"expected": "confirmed",
	"actual": object.get(input, ["claims", "ima", "boot_aggregate"], null),
	"hint": "quote PCRs 0 to 9 in the bank of the boot aggregate, and extend none of them after the kernel has started",
} if {
	present
	not stopped
	not aggregate_confirmed
}

reasons contains {
	"code": "ima_violations",
	"claim": "claims.ima.violations",
	"expected": sprintf("<= %v", [settings.violations]),
	"actual": object.get(input, ["claims", "ima", "violations"], null),
	"hint": "files were measured while open for writing: leave them out of the IMA policy (dont_measure), or find out who wrote",
} if {
	present
	not violations_tolerated
}

reasons contains {
	"code": "unknown_file",
	"claim": sprintf("claims.ima.unknown[%v]", [substring(file.path, 0, 256)]),
	"expected": "a digest in an active reference set",
	"actual": sprintf("%v:%v", [file.algorithm, file.digest]),
	"hint": "import and activate a reference set with this digest, or remove the file from the node and boot it again",
} if {
	present
	some place, file in refused
	place < most_told
}

reasons contains {
	"code": "unknown_files",
	"claim": "claims.ima.unknown.count",
	"expected": sprintf("at most %v unknown files are told one by one", [most_told]),
	"actual": object.get(input, ["claims", "ima", "unknown", "count"], null),
	"hint": "import a reference set of the installed packages; measure less with a narrower IMA policy",
} if {
	present
	not all_told
}

all_told if {
	all_shown
	count(refused) <= most_told
}

reasons contains {
	"code": "known_file_unsigned",
	"claim": "claims.ima.known",
	"expected": "signatures by accepted keys on all known files",
	"actual": sprintf("%v unsigned, signers: %v", [
		object.get(input, ["claims", "ima", "known", "unsigned"], "?"),
		concat(" ", [signer | some signer in known_signers; is_string(signer)]),
	]),
	"hint": "sign the files (evmctl ima_sign), and list the key among the tenant's file keys and in signers",
} if {
	present
	not known_signed
}
