# METADATA
# title: Shipped appraisal policy
# description: |
#   Turns claims that the verifier has already authenticated into a trust vector (AR4SI names and
#   tiers) and the reasons behind every tier that is not affirming.
#
#   How to read it: each thing we ask for is one positive rule (`debug_off`, `launch_known`, ...). A
#   tier is affirming only when all its rules hold, so a claim that is missing or of another type
#   counts against the node and never for it. Reasons only explain; no tier depends on one.
#
#   Here stands what is asked of every node and of a guest; what a TPM is asked instead stands in
#   tpm.rego, and what may be run after boot in ima.rego.
package sealward.appraisal

import rego.v1

trust_vector := {
	"instance-identity": instance_identity,
	"configuration": configuration,
	"executables": executables,
	"file-system": file_system,
	"hardware": hardware,
	"runtime-opaque": runtime_opaque,
	"storage-opaque": "none", # launch evidence says nothing about storage at rest
	"sourced-data": "none", # nor about the data a workload is fed
}

of_tpm if data.sealward.appraisal.tpm.attester

reasons contains reason if some reason in data.sealward.appraisal.tpm.reasons

# --- instance-identity --------------------------------------------------------------------------

default instance_identity := "contraindicated"

instance_identity := "affirming" if {
	instance_named
	key_resident
}

instance_named if {
	is_string(input.claims.instance_value)
	input.claims.instance_value != ""
}

key_resident if not of_tpm # other formats sign with the key of the hardware itself

key_resident if data.sealward.appraisal.tpm.key_resident

reasons contains {
	"code": "instance_value_missing",
	"claim": "claims.instance_value",
	"expected": "a value that tells this instance from every other",
	"actual": claim("instance_value"),
	"hint": "the evidence names no instance; attest again from a format that does",
} if {
	not instance_named
}

# --- executables and file-system ----------------------------------------------------------------

default executables := "contraindicated"

executables := "affirming" if {
	launch_known
	all_in_time
	data.sealward.appraisal.ima.accepted # what the kernel measured since boot, where it says so
}

reasons contains reason if some reason in data.sealward.appraisal.ima.reasons

all_in_time if {
	every entry in entries {
		in_time(entry)
	}
}

default file_system := "none"

# Only a measured chain that reaches the root file system says anything about files.
file_system := "affirming" if {
	executables == "affirming"
	some entry in entries
	"rootfs" in entry.components
}

# All or none: a measurement that cannot be read must not be passed over. What is no list at all is
# kept out by a rule of its own, as engines differ in what they make of walking through a text.
measurements := listed if {
	every measured in listed {
		is_string(measured.digest)
	}
}

listed := input.claims.measurements if is_array(input.claims.measurements)

# The host hands us only the reference entries that these digests match (blueprint 5.3).
entries contains entry if {
	not of_tpm
	some measured in measurements
	entry := data.reference.measurement[measured.digest]
	is_object(entry)
}

entries contains entry if {
	of_tpm
	some entry in data.sealward.appraisal.tpm.known_registers
}

measured_at_all if count(measurements) > 0

launch_known if {
	not of_tpm
	measured_at_all
	every measured in measurements {
		known_launch(measured)
	}
}

launch_known if data.sealward.appraisal.tpm.launch_known

known_launch(measured) if is_object(data.reference.measurement[measured.digest])

in_time(entry) if entry.not_after == null

in_time(entry) if {
	is_string(entry.not_after)
	instant(input.now) < instant(entry.not_after)
}

# In the one spelling that the host uses; engines differ in which others they take for a time.
instant(text) := time.parse_rfc3339_ns(text) if {
	regex.match(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,9})?Z$`, text)
}

reasons contains {
	"code": "measurement_missing",
	"claim": "claims.measurements",
	"expected": "at least one measurement",
	"actual": null,
	"hint": "the evidence measures nothing; attest again from a format that does",
} if {
	not measured_at_all
}

reasons contains {
	"code": "unknown_measurement",
	"claim": sprintf("claims.measurements[%v]", [object.get(measured, "name", "?")]),
	"expected": "a digest in an active reference set",
	"actual": measured.digest,
	"hint": "import and activate a reference set with this digest, or start the node from a listed image",
} if {
	not of_tpm
	not launch_known
	some measured in measurements
	not known_launch(measured)
}

reasons contains {
	"code": "reference_expired",
	"claim": "claims.measurements",
	"expected": sprintf("a reference value in force at %v", [input.now]),
	"actual": sprintf("%v, not after %v", [entry.name, object.get(entry, "not_after", "?")]),
	"hint": "move the node to a current release, or renew the reference value",
} if {
	not all_in_time
	some entry in entries
	not in_time(entry)
}

# --- configuration ------------------------------------------------------------------------------

default configuration := "contraindicated"

configuration := "affirming" if {
	debug_off
	not_migratable
	privilege_expected
	trust_config_measured
}

debug_off if input.claims.debug == false

not_migratable if input.claims.migratable == false

privilege_expected if input.claims.vmpl == 0

privilege_expected if input.claims.vmpl == null # formats without privilege levels say so

# F15: the agent's pins are measured, either in HOST_DATA or in the image itself.
trust_config_measured if {
	not of_tpm
	count(entries) > 0
	every entry in entries {
		trust_config_measured_by(entry)
	}
}

trust_config_measured if data.sealward.appraisal.tpm.trust_config_measured

trust_config_measured_by(entry) if entry.trust_config == "image"

trust_config_measured_by(entry) if {
	entry.trust_config == "host_data"
	is_string(input.claims.host_data)
	input.claims.host_data == input.expected.trust_config_digest
}

reasons contains {
	"code": "debug_enabled",
	"claim": "claims.debug",
	"expected": false,
	"actual": claim("debug"),
	"hint": "launch the guest with debugging disallowed by its launch policy",
} if {
	not debug_off
}

reasons contains {
	"code": "migration_enabled",
	"claim": "claims.migratable",
	"expected": false,
	"actual": claim("migratable"),
	"hint": "launch the guest without a migration agent",
} if {
	not not_migratable
}

reasons contains {
	"code": "vmpl_unexpected",
	"claim": "claims.vmpl",
	"expected": 0,
	"actual": claim("vmpl"),
	"hint": "request the report from the most privileged level of the guest",
} if {
	not privilege_expected
}

reasons contains {
	"code": "trust_config_mismatch",
	"claim": "claims.host_data",
	"expected": object.get(input, ["expected", "trust_config_digest"], null),
	"actual": claim("host_data"),
	"hint": "start the guest with HOST_DATA set to the digest of this control plane's trust configuration",
} if {
	not of_tpm
	not trust_config_measured
	some entry in entries
	not trust_config_measured_by(entry)
}

# --- hardware -----------------------------------------------------------------------------------

default hardware := "contraindicated"

hardware := "affirming" if {
	reported_reached
	committed_reached
} else := "warning" if {
	reported_reached
} else := "warning" if {
	of_tpm
	key_resident
}

lowest_levels := levels if {
	is_string(input.claims.tee)
	is_string(input.claims.product)
	levels := data.reference.tcb_floor[concat("/", [input.claims.tee, input.claims.product])]
	is_object(levels)
}

# Component by component: a high microcode level never pays for a low firmware level.
reported_reached if {
	levels := input.claims.tcb.reported
	count(lowest_levels) > 0
	every component, lowest in lowest_levels {
		is_number(levels[component])
		levels[component] >= lowest
	}
}

committed_reached if {
	input.claims.tcb.committed == input.claims.tcb.reported # usual, and cheaper than a second look
	reported_reached
} else if {
	levels := input.claims.tcb.committed
	count(lowest_levels) > 0
	every component, lowest in lowest_levels {
		is_number(levels[component])
		levels[component] >= lowest
	}
}

at_least(level, lowest) if {
	is_number(level) # in Rego every text is greater than every number
	level >= lowest
}

reasons contains {
	"code": "tcb_floor_missing",
	"claim": "claims.product",
	"expected": "a product with an active TCB floor",
	"actual": claim("product"),
	"hint": "activate a reference set that states the lowest TCB accepted for this product",
} if {
	not of_tpm
	not lowest_levels
}

reasons contains {
	"code": "tcb_below_floor",
	"claim": sprintf("claims.tcb.reported.%v", [component]),
	"expected": sprintf(">= %v", [lowest]),
	"actual": level,
	"hint": "update the platform's firmware, or place the node on an updated platform",
} if {
	hardware == "contraindicated"
	some component, lowest in lowest_levels
	level := object.get(input, ["claims", "tcb", "reported", component], null)
	not at_least(level, lowest)
}

# A committed level below the floor lets the host go back under it without a trace.
reasons contains {
	"code": "tcb_not_committed",
	"claim": sprintf("claims.tcb.committed.%v", [component]),
	"expected": sprintf(">= %v", [lowest]),
	"actual": level,
	"hint": "commit the platform's firmware update so that it cannot be rolled back",
} if {
	hardware == "warning"
	some component, lowest in lowest_levels
	level := object.get(input, ["claims", "tcb", "committed", component], null)
	not at_least(level, lowest)
}

# --- runtime-opaque -----------------------------------------------------------------------------

default runtime_opaque := "contraindicated"

runtime_opaque := "affirming" if {
	memory_closed
	provider_outside
} else := "warning" if {
	memory_closed
} else := "warning" if {
	of_tpm # it cannot say who reads memory; the release policy says for which data that is enough
	debug_off
	not_migratable
}

memory_closed if {
	memory_encrypted
	debug_off
	not_migratable
}

memory_encrypted if input.claims.memory_encrypted == true

provider_outside if input.claims.provider_in_tcb == false

reasons contains {
	"code": "memory_not_encrypted",
	"claim": "claims.memory_encrypted",
	"expected": true,
	"actual": claim("memory_encrypted"),
	"hint": "run the node as a confidential guest",
} if {
	not of_tpm
	not memory_encrypted
}

reasons contains {
	"code": "provider_in_tcb",
	"claim": "claims.provider_in_tcb",
	"expected": false,
	"actual": claim("provider_in_tcb"),
	"hint": "part of the guest's trusted code belongs to the provider; attest from a guest without one",
} if {
	not of_tpm
	not provider_outside
}

# --- verdicts of the verifier -------------------------------------------------------------------

# The verifier caps the vector itself (F20b). Here its verdicts only get their explanation, so that
# they stand beside the other reasons wherever reasons are shown.
reasons contains {
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
