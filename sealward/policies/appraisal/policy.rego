# METADATA
# title: Shipped appraisal policy
# description: |
#   Turns claims that the verifier has already authenticated into a trust vector (AR4SI names and
#   tiers) and the reasons behind every tier that is not affirming.
#
#   How to read it: each thing we ask for is one positive condition. A tier is affirming only when
#   all its conditions hold, so a claim that is missing or of another type counts against the node
#   and never for it. Reasons only explain; no tier depends on one.
#
#   Here stands what is asked of every node and of an SEV-SNP guest. Other kinds of evidence get their
#   tiers from files of their own (other.rego says which), devices beside the machine from
#   devices.rego, and what may be run after boot stands in ima.rego.
#
#   Every node is appraised again and again, and nearly always it is in order. So short conditions
#   stand where they are asked and have no rule of their own, which costs the engine ten times as
#   much, and nothing is looked at that only a reason needs.
package sealward.appraisal

import rego.v1

trust_vector := data.sealward.appraisal.devices.trust_vector if {
	is_object(input.claims.submods)
} else := data.sealward.appraisal.other.trust_vector if {
	input.claims.tee != "snp"
} else := {
	"instance-identity": instance_identity,
	"configuration": configuration,
	"executables": executables,
	"file-system": file_system,
	"hardware": hardware,
	"runtime-opaque": runtime_opaque,
	"storage-opaque": "none", # launch evidence says nothing about storage at rest
	"sourced-data": "none", # nor about the data a workload is fed
}

# --- reasons ------------------------------------------------------------------------------------

# Where every tier is what it should be, nothing falls short, and nothing has to be looked for.
reasons contains reason if {
	not in_order
	some reason in shortcomings
}

# No fault of the node, so it is said of one in order too.
reasons contains reason if {
	input.claims.tee != "snp"
	some reason in data.sealward.appraisal.other.limits
}

in_order if {
	not "contraindicated" in trust_vector
	not "warning" in trust_vector
	input.claims.development == false
	not input.claims.submods # whose vectors stand deeper
} else if {
	not "contraindicated" in trust_vector
	input.claims.tee == "tpm" # warns even in order
	input.claims.development == false
	not input.claims.submods
}

# What is not judged elsewhere is judged as a guest, and so is what does not say its kind.
# (In two steps: under one `not`, engines differ about a kind that is missing.)
guest if not other_kind

other_kind if input.claims.tee != "snp"

shortcomings contains reason if {
	not guest
	some reason in data.sealward.appraisal.other.shortcomings
}

shortcomings contains reason if {
	is_object(input.claims.submods)
	some reason in data.sealward.appraisal.devices.shortcomings
}

shortcomings contains reason if some reason in data.sealward.appraisal.ima.reasons

# --- instance-identity --------------------------------------------------------------------------

instance_identity := "affirming" if {
	is_string(input.claims.instance_value)
	input.claims.instance_value != ""
} else := "contraindicated"

shortcomings contains {
	"code": "instance_value_missing",
	"claim": "claims.instance_value",
	"expected": "a value that tells this instance from every other",
	"actual": claim("instance_value"),
	"hint": "the evidence names no instance; attest again from a format that does",
} if {
	instance_identity != "affirming"
}

# --- executables and file-system ----------------------------------------------------------------

executables := "affirming" if {
	entries != []
	count(entries) == count(measurements) # all are known
	every entry in entries {
		in_time(entry.not_after)
	}
	data.sealward.appraisal.ima.accepted # what the kernel measured since boot, where it says so
} else := "contraindicated"

# Only a measured chain that reaches the root file system says anything about files.
file_system := "affirming" if {
	executables == "affirming"
	some entry in entries
	"rootfs" in entry.components
} else := "none"

# All or none: a measurement that cannot be read must not be passed over. What is no list at all is
# kept out, as engines differ in what they make of walking through a text.
measurements := input.claims.measurements if {
	is_array(input.claims.measurements)
	every measured in input.claims.measurements {
		is_string(measured.digest)
	}
}

# What is known of them. The host hands us only the reference entries that these digests match
# (blueprint 5.3).
entries := [entry |
	some measured in measurements
	entry := data.reference.measurement[measured.digest]
	is_object(entry)
]

in_time(end) if {
	end == null
} else if {
	is_string(end)

	# Both in the one spelling that the host uses; engines differ in which others they take for a time.
	regex.match(
		`^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,9})?Z ){2}$`,
		concat(" ", [input.now, end, ""]),
	)
	time.parse_rfc3339_ns(input.now) < time.parse_rfc3339_ns(end)
}

shortcomings contains {
	"code": "measurement_missing",
	"claim": "claims.measurements",
	"expected": "at least one measurement",
	"actual": null,
	"hint": "the evidence measures nothing; attest again from a format that does",
} if {
	not measured_at_all
}

measured_at_all if count(measurements) > 0

shortcomings contains {
	"code": "unknown_measurement",
	"claim": sprintf("claims.measurements[%v]", [object.get(measured, "name", "?")]),
	"expected": "a digest in an active reference set",
	"actual": measured.digest,
	"hint": "import and activate a reference set with this digest, or start the node from a listed image",
} if {
	guest
	some measured in measurements
	not known(measured)
}

known(measured) if is_object(data.reference.measurement[measured.digest])

shortcomings contains {
	"code": "reference_expired",
	"claim": "claims.measurements",
	"expected": sprintf("a reference value in force at %v", [input.now]),
	"actual": sprintf("%v, not after %v", [entry.name, object.get(entry, "not_after", "?")]),
	"hint": "move the node to a current release, or renew the reference value",
} if {
	some entry in matched
	not in_time(object.get(entry, "not_after", "unsaid"))
}

matched := data.sealward.appraisal.other.entries if {
	not guest
} else := entries

# --- configuration ------------------------------------------------------------------------------

configuration := "affirming" if {
	input.claims.debug == false
	input.claims.migratable == false
	input.claims.vmpl in {0, null} # formats without privilege levels say null
	entries != []
	every entry in entries {
		trust_config_measured_by(entry)
	}
} else := "contraindicated"

# F15: the agent's pins are measured, either in HOST_DATA or in the image itself.
trust_config_measured_by(entry) if {
	entry.trust_config == "host_data"
	is_string(input.claims.host_data)
	input.claims.host_data == input.expected.trust_config_digest
} else if {
	entry.trust_config == "image"
}

shortcomings contains {
	"code": "debug_enabled",
	"claim": "claims.debug",
	"expected": false,
	"actual": claim("debug"),
	"hint": "launch the guest with debugging disallowed by its launch policy",
} if {
	not input.claims.debug == false
}

shortcomings contains {
	"code": "migration_enabled",
	"claim": "claims.migratable",
	"expected": false,
	"actual": claim("migratable"),
	"hint": "launch the guest without a migration agent",
} if {
	not input.claims.migratable == false
}

shortcomings contains {
	"code": "vmpl_unexpected",
	"claim": "claims.vmpl",
	"expected": 0,
	"actual": claim("vmpl"),
	"hint": "request the report from the most privileged level of the guest",
} if {
	not input.claims.vmpl == 0
	not input.claims.vmpl == null
}

shortcomings contains {
	"code": "trust_config_mismatch",
	"claim": "claims.host_data",
	"expected": object.get(input, ["expected", "trust_config_digest"], null),
	"actual": claim("host_data"),
	"hint": "start the guest with HOST_DATA set to the digest of this control plane's trust configuration",
} if {
	guest
	some entry in entries
	not trust_config_measured_by(entry)
}

# --- hardware -----------------------------------------------------------------------------------

hardware := "affirming" if {
	reached(input.claims.tcb.reported)
	input.claims.tcb.committed == input.claims.tcb.reported # usual, and cheaper than a second look
} else := "affirming" if {
	reached(input.claims.tcb.reported)
	reached(input.claims.tcb.committed)
} else := "warning" if {
	reached(input.claims.tcb.reported)
} else := "contraindicated"

lowest_levels := levels if {
	levels := data.reference.tcb_floor[sprintf("%v/%v", [input.claims.tee, input.claims.product])]
	is_object(levels)
}

# Component by component: a high microcode level never pays for a low firmware level.
reached(levels) if {
	lowest_levels != {}
	every component, lowest in lowest_levels {
		is_number(levels[component]) # in Rego every text is greater than every number
		levels[component] >= lowest
	}
}

at_least(level, lowest) if {
	is_number(level)
	level >= lowest
}

shortcomings contains {
	"code": "tcb_floor_missing",
	"claim": "claims.product",
	"expected": "a product with an active TCB floor",
	"actual": claim("product"),
	"hint": "activate a reference set that states the lowest TCB accepted for this product",
} if {
	guest
	not lowest_levels
}

shortcomings contains {
	"code": "tcb_below_floor",
	"claim": sprintf("claims.tcb.reported.%v", [component]),
	"expected": sprintf(">= %v", [lowest]),
	"actual": level,
	"hint": "update the platform's firmware, or place the node on an updated platform",
} if {
	guest
	hardware == "contraindicated"
	some component, lowest in lowest_levels
	level := object.get(input, ["claims", "tcb", "reported", component], null)
	not at_least(level, lowest)
}

# A committed level below the floor lets the host go back under it without a trace.
shortcomings contains {
	"code": "tcb_not_committed",
	"claim": sprintf("claims.tcb.committed.%v", [component]),
	"expected": sprintf(">= %v", [lowest]),
	"actual": level,
	"hint": "commit the platform's firmware update so that it cannot be rolled back",
} if {
	guest
	hardware == "warning"
	some component, lowest in lowest_levels
	level := object.get(input, ["claims", "tcb", "committed", component], null)
	not at_least(level, lowest)
}

# --- runtime-opaque -----------------------------------------------------------------------------

runtime_opaque := "affirming" if {
	input.claims.memory_encrypted == true
	input.claims.debug == false
	input.claims.migratable == false
	input.claims.provider_in_tcb == false
} else := "warning" if {
	input.claims.memory_encrypted == true
	input.claims.debug == false
	input.claims.migratable == false
} else := "contraindicated"

shortcomings contains {
	"code": "memory_not_encrypted",
	"claim": "claims.memory_encrypted",
	"expected": true,
	"actual": claim("memory_encrypted"),
	"hint": "run the node as a confidential guest",
} if {
	guest
	not input.claims.memory_encrypted == true
}

shortcomings contains {
	"code": "provider_in_tcb",
	"claim": "claims.provider_in_tcb",
	"expected": false,
	"actual": claim("provider_in_tcb"),
	"hint": "part of the guest's trusted code belongs to the provider; attest from a guest without one",
} if {
	guest
	not input.claims.provider_in_tcb == false
}

# --- verdicts of the verifier -------------------------------------------------------------------

# The verifier caps the vector itself (F20b). Here its verdicts only get their explanation, so that
# they stand beside the other reasons wherever reasons are shown.
shortcomings contains {
	"code": "development_root",
	"claim": "claims.development",
	"expected": false,
	"actual": claim("development"),
	"hint": "evidence under a development root says nothing about hardware; never use it for production",
} if {
	not input.claims.development == false
}

# --- explanations -------------------------------------------------------------------------------

claim(name) := object.get(input, ["claims", name], null)
