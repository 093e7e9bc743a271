# METADATA
# title: What the shipped appraisal policy asks of a TPM
# description: |
#   A TPM measures and signs, but encrypts no memory and has no TCB to have a floor: its best is
#   `warning`. These are its tiers, and those of a virtual TPM of Google's; azure.rego takes what is
#   said of a boot from here as well.
package sealward.appraisal.tpm

import rego.v1

trust_vector := {
	"instance-identity": instance_identity,
	"configuration": configuration,
	"executables": executables,
	"file-system": file_system,
	"hardware": hardware,
	"runtime-opaque": runtime_opaque,
	"storage-opaque": "none",
	"sourced-data": "none",
}

# Only what can be read, all of it or nothing. Azure's evidence measures the launch beside the boot.
measurements := data.sealward.appraisal.measurements if {
	not input.claims.azure
} else := [measured |
	some measured in data.sealward.appraisal.measurements
	startswith(measured.name, "pcr")
]

# --- instance-identity --------------------------------------------------------------------------

default instance_identity := "contraindicated"

instance_identity := data.sealward.appraisal.instance_identity if key_resident

key_resident if {
	input.claims.tpm.residency == "activated"
} else if {
	input.claims.tee == "google-vtpm"
	input.claims.tpm.residency == "certified" # by Google, who runs the TPM
}

shortcomings contains {
	"code": "key_residency_unproven",
	"claim": "claims.tpm.residency",
	"expected": "activated",
	"actual": object.get(input, ["claims", "tpm", "residency"], null),
	"hint": "enroll the node anew, so that its TPM opens a credential made for this key",
} if {
	not key_resident
}

# --- executables --------------------------------------------------------------------------------

default executables := "contraindicated"

executables := "affirming" if {
	boot_known
	every entry in boots {
		data.sealward.appraisal.in_time(entry.not_after)
	}
	data.sealward.appraisal.ima.accepted
}

default file_system := "none"

file_system := "affirming" if {
	executables == "affirming"
	some entry in boots
	"rootfs" in entry.components
}

# The boot that was quoted, where a reference set describes it: the host has held all registers that
# were quoted against all that the set describes. Registers that are known one by one, each of some
# boot, show nothing: who starts a known loader can write another boot's history where it writes none.
boots := [entry |
	is_object(data.reference.boot)
	some entry in data.reference.boot
	is_object(entry)
]

boot_known if {
	boots != []
	boot_quoted
	not runtime_unexplained
}

# It is in no boot. Where it is quoted, a list has to say what it holds.
runtime_unexplained if {
	some measured in fixed_registers
	measured.name == "pcr10"
}

# But for PCR 10 where a list explains it: the files behind it are judged instead.
fixed_registers := measurements if {
	not input.claims.ima
} else := [measured |
	some measured in measurements
	not data.sealward.appraisal.ima.explains(measured)
]

# The registers that firmware and boot loader write, all of them and in one bank: values of two
# banks are two histories. No promise rests on SHA-1.
boot_registers := {"pcr0", "pcr1", "pcr2", "pcr3", "pcr4", "pcr5", "pcr6", "pcr7"}

boot_quoted if {
	some bank in {"sha256", "sha384", "sha512"}
	boot_registers - quoted(bank) == set()
}

quoted(bank) := {measured.name |
	some measured in measurements
	measured.algorithm == bank
}

shortcomings contains {
	"code": "unknown_measurement",
	"claim": sprintf("claims.measurements[%v]", [object.get(measured, "name", "?")]),
	"expected": sprintf("a %v value of this register in an active reference set", [object.get(measured, "algorithm", "?")]),
	"actual": measured.digest,
	"hint": way_out(measured),
} if {
	some place, measured in unknown_registers
	place < most_told
}

most_told := 24 # an answer holds 64 reasons, a quote 256 values

unknown_registers := [measured |
	not boot_known
	some measured in fixed_registers
	not known(measured)
]

# A value is that of its own register only: what is good in PCR 8 is not good in PCR 4.
known(measured) if {
	is_string(measured.name)
	index := trim_prefix(measured.name, "pcr")
	is_object(data.reference.pcr[sprintf("%v/%v/%v", [measured.algorithm, index, measured.digest])])
}

way_out(measured) := "have the agent send the kernel's list of measured files, or leave PCR 10 out of its quotes" if {
	measured.name == "pcr10"
} else := "bring the machine back to the state that was reviewed, or review this one and import its registers with `sealward reference pcr`"

shortcomings contains {
	"code": "boot_unknown",
	"claim": "claims.measurements",
	"expected": sprintf("the registers that one reference set describes; %v comes nearest", [nearest("set", "none")]),
	"actual": concat("; ", sort(differences)),
	"hint": "let the agent quote exactly the registers that the set describes, bring the machine back to that boot, or review this one and import it with `sealward reference pcr`",
} if {
	boots == []
	count(fixed_registers) > 0
	unknown_registers == []
}

nearest(name, otherwise) := object.get(data.reference, ["nearest_boot", name], otherwise)

differences contains sprintf("%v: %v", [what, concat(" ", registers)]) if {
	some what, name in {
		"another value": "other_value",
		"not described": "not_described",
		"not quoted": "not_quoted",
	}
	is_array(nearest(name, []))
	registers := [register | some register in nearest(name, []); is_string(register)]
	count(registers) > 0
}

shortcomings contains {
	"code": "register_missing",
	"claim": "claims.measurements",
	"expected": "PCRs 0 to 7, all of one SHA-2 bank",
	"actual": concat("; ", sort({sprintf("%v: %v", [measured.algorithm, concat(" ", sort(names))]) |
		some measured in measurements
		names := boot_registers & quoted(measured.algorithm)
	})),
	"hint": "let the agent quote PCRs 0 to 7 of the sha256 bank, and more beside them as you need",
} if {
	not boot_quoted
}

# --- configuration ------------------------------------------------------------------------------

default configuration := "contraindicated"

configuration := "affirming" if {
	input.claims.debug == false
	input.claims.migratable == false
	input.claims.vmpl in {0, null}
	trust_config_measured
}

# One register of the boot is enough; a TPM has no HOST_DATA.
trust_config_measured if {
	boots != []
	every entry in boots {
		entry.trust_config == "image"
	}
}

shortcomings contains {
	"code": "trust_config_not_covered",
	"claim": "claims.measurements",
	"expected": "a boot that covers the agent's trust configuration",
	"actual": null,
	"hint": "measure the trust configuration with the image, and say trust_config image in the value of its register",
} if {
	boot_known # else it may stand behind a register that is unknown
	not trust_config_measured
}

# --- hardware and runtime-opaque ----------------------------------------------------------------

default hardware := "contraindicated"

hardware := "warning" if key_resident

default runtime_opaque := "contraindicated"

# It cannot say who reads memory; the release policy says for which data that is enough.
runtime_opaque := "affirming" if {
	data.sealward.appraisal.runtime_opaque == "affirming"
} else := "warning" if {
	input.claims.debug == false
	input.claims.migratable == false
}

# --- verdicts of the verifier -------------------------------------------------------------------

# No fault of the node, so it is said of one in order too.
limit := {
	"code": "tpm_only",
	"claim": "claims.tee",
	"expected": "a TEE that encrypts the memory of the guest",
	"actual": input.claims.tee,
	"hint": "a TPM cannot say who reads memory; run the node as a confidential guest for data above internal",
}
