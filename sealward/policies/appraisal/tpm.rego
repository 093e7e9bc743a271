# METADATA
# title: What the shipped appraisal policy asks of a TPM
# description: |
#   A TPM measures and signs, but encrypts no memory and has no TCB to have a floor: its best is
#   `warning`. policy.rego asks these rules where it would ask a guest its own.
package sealward.appraisal.tpm

import rego.v1

attester if input.claims.tee == "tpm"

# Only what can be read, all of it or nothing.
measurements := data.sealward.appraisal.measurements

# --- instance-identity --------------------------------------------------------------------------

key_resident if input.claims.tpm.residency == "activated"

reasons contains {
	"code": "key_residency_unproven",
	"claim": "claims.tpm.residency",
	"expected": "activated",
	"actual": object.get(input, ["claims", "tpm", "residency"], null),
	"hint": "enroll the node anew, so that its TPM opens a credential made for this key",
} if {
	attester
	not key_resident
}

# --- executables --------------------------------------------------------------------------------

known_registers := [entry |
	some measured in fixed_registers
	entry := known_register(measured)
]

# A value counts as that of its own register only: what is good in PCR 8 is not good in PCR 4.
known_register(measured) := entry if {
	is_string(measured.algorithm)
	is_string(measured.name)
	entry := data.reference.pcr[concat("/", [
		measured.algorithm,
		trim_prefix(measured.name, "pcr"),
		measured.digest,
	])]
	is_object(entry)
}

launch_known if {
	attester
	boot_quoted
	count(known_registers) == count(fixed_registers)
}

# But for PCR 10 where a list explains it: the files behind it are judged instead.
fixed_registers := [measured |
	some measured in measurements
	not data.sealward.appraisal.ima.explains(measured)
]

# The registers that firmware and boot loader write, all of them and in one bank: values of two
# banks are two histories. No promise rests on SHA-1.
boot_registers := {"pcr0", "pcr1", "pcr2", "pcr3", "pcr4", "pcr5", "pcr6", "pcr7"}

boot_quoted if {
	some bank in {"sha256", "sha384", "sha512"}
	count(boot_registers - quoted(bank)) == 0
}

quoted(bank) := {measured.name |
	some measured in measurements
	measured.algorithm == bank
}

reasons contains {
	"code": "unknown_measurement",
	"claim": sprintf("claims.measurements[%v]", [object.get(measured, "name", "?")]),
	"expected": sprintf("a %v value of this register in an active reference set", [object.get(measured, "algorithm", "?")]),
	"actual": measured.digest,
	"hint": "bring the machine back to the state that was reviewed, or review this one and import its registers with `sealward reference pcr`",
} if {
	some place, measured in unknown_registers
	place < most_told
}

most_told := 24 # an answer holds 64 reasons, a quote 256 values

unknown_registers := [measured |
	attester
	not launch_known
	some measured in fixed_registers
	not known_register(measured)
]

reasons contains {
	"code": "register_missing",
	"claim": "claims.measurements",
	"expected": "PCRs 0 to 7, all of one SHA-2 bank",
	"actual": concat("; ", sort({sprintf("%v: %v", [measured.algorithm, concat(" ", sort(names))]) |
		some measured in measurements
		names := boot_registers & quoted(measured.algorithm)
	})),
	"hint": "let the agent quote PCRs 0 to 7 of the sha256 bank, and more beside them as you need",
} if {
	attester
	not boot_quoted
}

# --- configuration ------------------------------------------------------------------------------

# One register of the quoted chain is enough; a TPM has no HOST_DATA.
trust_config_measured if {
	attester
	some entry in known_registers
	entry.trust_config == "image"
}

reasons contains {
	"code": "trust_config_not_covered",
	"claim": "claims.measurements",
	"expected": "a register that covers the agent's trust configuration",
	"actual": null,
	"hint": "measure the trust configuration with the image, quote its register, and say trust_config image in its reference value",
} if {
	attester
	launch_known # else it may stand behind a register that is unknown
	not trust_config_measured
}

# --- verdicts of the verifier -------------------------------------------------------------------

reasons contains {
	"code": "tpm_only",
	"claim": "claims.tee",
	"expected": "a TEE that encrypts the memory of the guest",
	"actual": "tpm",
	"hint": "a TPM cannot say who reads memory; run the node as a confidential guest for data above internal",
} if {
	attester
}
