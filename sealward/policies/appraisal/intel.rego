# METADATA
# title: What the shipped appraisal policy asks of Intel TDX and SGX
# description: |
#   Intel's own statement of the TCB decides about the hardware, and a floor (a reference value) only
#   where one is active: it can ask for more, and it can accept a level that Intel calls out of date.
#
#   Settings are data of the bundle, `sealward.appraisal.settings.intel` in data.json:
#   `accepted_statuses`, of the statuses that `acceptable` lists, and `accepted_advisories`, Intel's
#   numbers. A setting of another type than it should have accepts nothing.
package sealward.appraisal.intel

import rego.v1

trust_vector := {
	"instance-identity": data.sealward.appraisal.instance_identity,
	"configuration": configuration,
	"executables": data.sealward.appraisal.launch.executables,
	"file-system": data.sealward.appraisal.launch.file_system,
	"hardware": hardware,
	"runtime-opaque": data.sealward.appraisal.runtime_opaque,
	"storage-opaque": "none",
	"sourced-data": "none",
}

# --- configuration ------------------------------------------------------------------------------

default configuration := "contraindicated"

configuration := "affirming" if {
	input.claims.debug == false
	input.claims.migratable == false
	trust_config_measured
}

# MRCONFIGID is what HOST_DATA is elsewhere; an enclave has its pins in the image.
trust_config_measured if {
	data.sealward.appraisal.launch.trust_config_in_image
} else if {
	input.claims.tee == "tdx"
	data.sealward.appraisal.launch.trust_config_in_host_data
}

shortcomings contains {
	"code": "trust_config_mismatch",
	"claim": "claims.host_data",
	"expected": object.get(input, ["expected", "trust_config_digest"], null),
	"actual": object.get(input, ["claims", "host_data"], null),
	"hint": "start the TD with MRCONFIGID set to the digest of this control plane's trust configuration and zeros, or measure it with the image",
} if {
	data.sealward.appraisal.launch.boots != []
	not trust_config_measured
}

# --- hardware -----------------------------------------------------------------------------------

default hardware := "contraindicated"

hardware := "affirming" if {
	status_in_order
	floor_kept
	revocation_checked
} else := "warning" if {
	input.claims.tcb_status in (known_statuses | late_statuses)
	not late_without_floor
	floor_kept
}

known_statuses := {"UpToDate"} | acceptable

# Software or configuration has to be mended, or the TD started anew; not the platform.
acceptable := {
	"SWHardeningNeeded",
	"ConfigurationNeeded",
	"ConfigurationAndSWHardeningNeeded",
	"TDRelaunchAdvised",
	"TDRelaunchAdvisedConfigurationNeeded",
}

late_statuses := {"OutOfDate", "OutOfDateConfigurationNeeded"}

late_without_floor if {
	input.claims.tcb_status in late_statuses
	not floor_reached
}

status_in_order if {
	input.claims.tcb_status == "UpToDate"
} else if {
	input.claims.tcb_status == "OutOfDate"
	floor_reached
} else if {
	input.claims.tcb_status in acceptable
	accepted
} else if {
	input.claims.tcb_status == "OutOfDateConfigurationNeeded"
	floor_reached
	accepted
}

# A whole path to settings that are not there would not load beside other settings in every engine.
given := object.get(data.sealward.appraisal.settings, "intel", {})

default statuses := []

statuses := given.accepted_statuses if is_array(given.accepted_statuses)

default tolerated := []

tolerated := given.accepted_advisories if is_array(given.accepted_advisories)

# By name of the status, or because every advisory behind it is accepted.
accepted if {
	input.claims.tcb_status in statuses
} else if {
	is_array(input.claims.advisories)
	input.claims.advisories != []
	every advisory in input.claims.advisories {
		advisory in tolerated
	}
}

revocation_checked if input.claims.collateral.revocation == "checked"

# A product is named without spaces: tdx/TDX-1.5.
lowest_levels := levels if {
	is_string(input.claims.product)
	levels := data.reference.tcb_floor[sprintf("%v/%v", [input.claims.tee, replace(input.claims.product, " ", "-")])]
	is_object(levels)
	levels != {}
}

floor_reached if {
	every component, lowest in lowest_levels {
		data.sealward.appraisal.at_least(input.claims.tcb.reported[component], lowest)
	}
}

floor_kept if {
	not lowest_levels
} else if {
	floor_reached
}

shortcomings contains {
	"code": "tcb_out_of_date",
	"claim": "claims.tcb_status",
	"expected": "UpToDate, or a floor that accepts this level",
	"actual": status,
	"hint": "update the platform's microcode and TDX module, or activate a reference set with a floor that accepts it",
} if {
	late_without_floor
}

shortcomings contains {
	"code": "tcb_status_not_accepted",
	"claim": "claims.tcb_status",
	"expected": concat(", ", sort({"UpToDate"} | {one | some one in statuses; is_string(one)})),
	"actual": sprintf("%v: %v", [status, concat(" ", [one |
		is_array(input.claims.advisories)
		some one in input.claims.advisories
		is_string(one)
	])]),
	"hint": "do what the advisories ask for, or accept the status or its advisories in settings.intel of the policy's data.json",
} if {
	not late_without_floor
	not status_in_order
}

status := object.get(input, ["claims", "tcb_status"], null)

shortcomings contains {
	"code": "revocation_unchecked",
	"claim": "claims.collateral.revocation",
	"expected": "checked",
	"actual": object.get(input, ["claims", "collateral", "revocation"], null),
	"hint": "give the control plane the vendor's revocation lists: sealward collateral import",
} if {
	not revocation_checked
}

shortcomings contains {
	"code": "tcb_below_floor",
	"claim": sprintf("claims.tcb.reported.%v", [component]),
	"expected": sprintf(">= %v", [lowest]),
	"actual": level,
	"hint": "update the platform's firmware, or place the node on an updated platform",
} if {
	some component, lowest in lowest_levels
	level := object.get(input, ["claims", "tcb", "reported", component], null)
	not data.sealward.appraisal.at_least(level, lowest)
}

shortcomings contains reason if some reason in data.sealward.appraisal.launch.shortcomings
