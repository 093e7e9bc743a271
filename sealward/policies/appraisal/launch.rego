# METADATA
# title: A launch that a reference set describes
# description: |
#   For evidence with several registers that mean something together (TDX, SGX, Nitro, CCA, PSA, CSV). The
#   host has held all of them against all that each set describes: an entry of `data.reference.boot`
#   is a set that describes exactly this launch. Registers that are known one by one, each of some
#   launch, show nothing; they are there to explain.
package sealward.appraisal.launch

import rego.v1

default executables := "contraindicated"

executables := "affirming" if {
	boots != []
	own != []
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

boots := [entry |
	is_object(data.reference.boot)
	some entry in data.reference.boot
	is_object(entry)
]

# F15: the agent's pins are measured with the image.
default trust_config_in_image := false

trust_config_in_image if {
	boots != []
	every entry in boots {
		entry.trust_config == "image"
	}
}

default trust_config_in_host_data := false

trust_config_in_host_data if {
	boots != []
	is_string(input.claims.host_data)
	input.claims.host_data == input.expected.trust_config_digest
}

# --- explanations -------------------------------------------------------------------------------

registers := array.concat(own, platform)

own := [measured |
	some measured in data.sealward.appraisal.measurements
	is_string(measured.name)
	describes(measured.name)
]

# Nitro's others name the parent instance and its role.
describes(name) if {
	input.claims.tee != "nitro"
} else if {
	name in {"pcr0", "pcr1", "pcr2", "pcr8"}
}

default platform := []

platform := [{"name": sprintf("platform%v", [place]), "digest": component.measurement} |
	some place, component in input.claims.cca.components
	is_string(component.measurement)
] if {
	is_array(input.claims.cca.components)
}

unknown_registers := [measured |
	boots == []
	some measured in registers
	not known(measured)
]

known(measured) if {
	is_object(data.reference.register[sprintf("%v/%v/%v", [input.claims.tee, measured.name, measured.digest])])
}

most_told := 24

shortcomings contains {
	"code": "unknown_measurement",
	"claim": sprintf("claims.measurements[%v]", [measured.name]),
	"expected": "a value of this register in an active reference set",
	"actual": measured.digest,
	"hint": "start the node from an image that was reviewed, or review this one and import all its registers as one reference set",
} if {
	some place, measured in unknown_registers
	place < most_told
}

shortcomings contains {
	"code": "boot_unknown",
	"claim": "claims.measurements",
	"expected": sprintf("the registers that one reference set describes; %v comes nearest", [nearest("set", "none")]),
	"actual": concat("; ", sort(differences)),
	"hint": "the registers are known, but of no one launch: start the node from an image that was reviewed, or review this one and import all its registers as one reference set",
} if {
	boots == []
	count(registers) > 0
	unknown_registers == []
}

nearest(name, otherwise) := object.get(data.reference, ["nearest_boot", name], otherwise)

differences contains sprintf("%v: %v", [what, concat(" ", names)]) if {
	some what, name in {
		"another value": "other_value",
		"not described": "not_described",
		"not shown": "not_quoted",
	}
	is_array(nearest(name, []))
	names := [register | some register in nearest(name, []); is_string(register)]
	count(names) > 0
}
