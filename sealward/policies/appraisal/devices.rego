# METADATA
# title: What the shipped appraisal policy asks of devices beside the machine
# description: |
#   Each device of a composite gets a vector of its own; the host makes a node as good as the worst.
#
#   Binding (security-requirements F8c): no evidence shows yet that a GPU is in this machine; the agent
#   says so. That is worth something only where the agent itself is measured, and the driver that it
#   asks: where one reference value covers the agent, and the GPU's manifest knows its driver. The
#   verifier warns of such a device all the same, and the release policy says for what it will do.
package sealward.appraisal.devices

import rego.v1

trust_vector := object.union(machine, {"submods": {label: vector(device) |
	is_object(input.claims.submods)
	some label, device in input.claims.submods
}})

machine := data.sealward.appraisal.other.trust_vector if {
	input.claims.tee != "snp"
} else := {
	"instance-identity": data.sealward.appraisal.instance_identity,
	"configuration": data.sealward.appraisal.configuration,
	"executables": data.sealward.appraisal.executables,
	"file-system": data.sealward.appraisal.file_system,
	"hardware": data.sealward.appraisal.hardware,
	"runtime-opaque": data.sealward.appraisal.runtime_opaque,
	"storage-opaque": "none",
	"sourced-data": "none",
}

vector(device) := {
	"instance-identity": instance_identity(device),
	"configuration": configuration(device),
	"executables": executables(device),
	"file-system": "none",
	"hardware": hardware(device),
	"runtime-opaque": configuration(device), # what keeps others out of its memory is the mode it is in
	"storage-opaque": "none",
	"sourced-data": "none",
}

instance_identity(device) := "affirming" if {
	is_string(device.platform_id)
} else := "contraindicated"

# A GPU with confidential computing off makes no report. What it cannot say, manifests say: firmware
# that lets development tools in is measured otherwise.
configuration(device) := "affirming" if {
	device.tee in {"nvidia-gpu", "nvidia-switch"}
	device.debug == false
	not device.gpu.devtools == true
	device.gpu.cc_mode in {null, "single", "multi", "protected-pcie"}
	not unprotected(device)
} else := "contraindicated"

# Several GPUs speak to each other and to switches over protected PCIe, or not at all.
unprotected(device) if {
	device.gpu.cc_mode == "multi"
	device.gpu.ppcie == false
}

executables(device) := "affirming" if {
	device.tee == "nvidia-gpu"
	device.gpu.rim.driver == "matched"
	device.gpu.rim.vbios == "matched"
	device.gpu.rim.mismatched == []
} else := "affirming" if {
	device.tee == "nvidia-switch"
	device.gpu.rim.vbios == "matched"
	device.gpu.rim.mismatched == []
} else := "contraindicated"

hardware(device) := "affirming" if {
	is_string(device.platform_id)
	bound(device)
	device.collateral.revocation == "checked"
} else := "warning" if {
	is_string(device.platform_id)
	device.gpu
} else := "contraindicated"

bound(device) if {
	device.gpu.binding == "tdisp"
} else if {
	device.gpu.binding == "agent-asserted"
	agent_measured
	executables(device) == "affirming"
}

agent_measured if {
	some entry in known_code
	"agent" in entry.components
}

known_code := data.sealward.appraisal.other.entries if {
	input.claims.tee != "snp"
} else := data.sealward.appraisal.entries

# --- explanations -------------------------------------------------------------------------------

shortcomings contains {
	"code": "device_firmware_unknown",
	"claim": sprintf("claims.submods.%v.gpu.rim", [label]),
	"expected": "driver and VBIOS as the vendor's signed manifests describe them",
	"actual": sprintf("driver %v, vbios %v, mismatched: %v", [
		object.get(device, ["gpu", "rim", "driver"], null),
		object.get(device, ["gpu", "rim", "vbios"], null),
		concat(" ", [one |
			is_array(device.gpu.rim.mismatched)
			some place, one in device.gpu.rim.mismatched
			is_string(one)
			place < 8
		]),
	]),
	"hint": "install driver and firmware that NVIDIA has released for confidential computing",
} if {
	some label, device in input.claims.submods
	executables(device) != "affirming"
}

shortcomings contains {
	"code": "device_unprotected",
	"claim": sprintf("claims.submods.%v.gpu.cc_mode", [label]),
	"expected": "confidential computing on, development tools off, protected PCIe between several GPUs",
	"actual": object.get(device, ["gpu", "cc_mode"], null),
	"hint": "set the GPU's confidential computing mode and restart it",
} if {
	some label, device in input.claims.submods
	configuration(device) != "affirming"
}

shortcomings contains {
	"code": "device_binding_unproven",
	"claim": sprintf("claims.submods.%v.gpu.binding", [label]),
	"expected": "tdisp, or a measured agent and a driver that its manifest knows",
	"actual": object.get(device, ["gpu", "binding"], null),
	"hint": "start the node from an image whose measured chain covers the agent",
} if {
	some label, device in input.claims.submods
	not bound(device)
}

shortcomings contains {
	"code": "revocation_unchecked",
	"claim": sprintf("claims.submods.%v.collateral.revocation", [label]),
	"expected": "checked",
	"actual": object.get(device, ["collateral", "revocation"], null),
	"hint": "let the control plane fetch NVIDIA's certificate status, or import it: sealward collateral import",
} if {
	some label, device in input.claims.submods
	not device.collateral.revocation == "checked"
}
