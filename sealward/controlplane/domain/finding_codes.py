"""The codes that a finding may carry: what kind of fault each one names (explanations.md, 2).

A code stands in one table; its place there breaks ties. What an author's own policy says stands in
none: it counts as configuration, after what is known.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum, unique
from types import MappingProxyType
from typing import Final


@unique
class Nature(StrEnum):
    """Kinds of fault, the gravest first."""

    integrity = "integrity"  # what ran, who signed
    configuration = "configuration"  # how it was set up, which level it has
    freshness = "freshness"  # nonces, dates
    standing = "standing"  # whether the node, its platform or its token belongs here
    entitlement = "entitlement"  # what a workload asks of its nodes
    ours = "ours"  # a policy that gave no answer, a fault of the control plane

    @property
    def rank(self) -> int:
        """The place among all kinds."""
        return _RANKS[self]


@unique
class Weight(IntEnum):
    """Whether a finding can be why something was denied."""

    cause = 0
    limit = 1  # what a kind of evidence always lacks
    consequence = 2  # follows from another finding


_RANKS: Final = MappingProxyType({nature: rank for rank, nature in enumerate(Nature)})

_TABLES: Final = MappingProxyType(
    {
        Nature.integrity: (
            # Of these there is only one at a time: the first check that failed.
            "malformed",
            "evidence_malformed",
            "unsupported_format",
            "evidence_missing",
            "evidence_ambiguous",
            "endorsement_missing",
            "root_imitates_vendor",
            "development_root_invalid",
            "root_not_pinned",
            "chain_broken",
            "certificate_forbidden",
            "certificate_revoked",
            "algorithm_forbidden",
            "signature_invalid",
            "key_kind_mismatch",
            "product_mismatch",
            "chip_mismatch",
            "collateral_mismatch",
            "key_attributes_forbidden",
            "attestation_key_unproven",
            "qe_identity_mismatch",
            "tdx_module_mismatch",
            "parts_mismatch",
            "fwid_mismatch",
            "device_repeated",
            "rim_conflict",
            "pcr_mismatch",
            "lock_invalid",
            "event_log_invalid",
            "event_log_mismatch",
            "binding_mismatch",
            "key_mismatch",
            "requester_mismatch",
            "credential_missing",
            "credential_invalid",
            "instance_changed",
            "clone_detected",
            "server_rolled_back",
            "evidence_refused",
            # From here on several may stand together.
            "distrusted",
            "platform_denied",
            "trust_anchor_removed",
            "device_elsewhere",
            "debug_enabled",
            "key_residency_unproven",
            "platform_not_vouched_for",
            "instance_value_missing",
            "measurement_missing",
            "unknown_file",
            "unknown_files",
            "ima_stopped",  # without its list, PCR 10 is unknown as well
            "ima_missing",
            "register_missing",
            "unknown_measurement",
            "boot_unknown",
            "firmware_unknown",
            "device_firmware_unknown",
            "known_file_unsigned",
            "ima_boot_aggregate",
            "ima_violations",
            "ima_bank_weak",
        ),
        Nature.configuration: (
            "lifecycle_forbidden",
            "lifecycle_not_secured",
            "tee_unknown",
            "vmpl_unexpected",
            "migration_enabled",
            "trust_config_mismatch",
            "trust_config_not_covered",
            "tcb_mismatch",
            "tcb_level_unmatched",
            "tcb_revoked",
            "tcb_out_of_date",
            "tcb_status_not_accepted",
            "firmware_newer_than_rim",
            "tcb_below_floor",
            "tcb_not_committed",
            "tcb_floor_missing",
            "memory_not_encrypted",
            "guest_state_not_encrypted",
            "device_unprotected",
            "provider_in_tcb",
            "ima_settings_invalid",
            "audience_mismatch",
            "tenant_mismatch",
            "purpose_mismatch",
            "invalid_request",
            "unsupported_protocol",
            "payload_too_large",
        ),
        Nature.freshness: (
            "challenge_mismatch",
            "challenge_spent",
            "challenge_expired",
            "challenge_invalid",
            "not_fresh",
            "certificate_not_yet_valid",
            "certificate_expired",
            "collateral_not_yet_valid",
            "collateral_expired",
            "collateral_rolled_back",
            "collateral_invalid",
            "collateral_missing",
            "collateral_pending",
            "revocation_unchecked",
            "runtime_log_gap",
            "reference_expired",
            "horizon_passed",
        ),
        Nature.standing: (
            "node_quarantined",
            "node_retired",
            "node_rejected",
            "node_pending",
            "node_unknown",
            "join_token_invalid",
            "join_token_expired",
            "join_token_spent",
            "platform_unknown",
            "unauthenticated",
        ),
        Nature.entitlement: (
            "development_refused",
            "development_node",
            "agent_not_measured",
            "tpm_lock_missing",
            "data_class_above_internal",
            "workload_unknown",
            "workload_not_permitted",
            "model_unknown",
            "model_refused",
            "too_many_instances",
        ),
        Nature.ours: (
            "no_policy",
            "policy_missing",
            "policy_undefined",
            "policy_invalid",
            "policy_error",
            "policy_timeout",
            "policy_crashed",
            "policy_busy",
            "policy_engine_unavailable",
            "denied_without_reason",
            "allowed_with_reasons",
            "no_common_region",
            "label_conflict",
            "key_unusable",
            "keystore_refused",
            "rate_limited",
        ),
    }
)
_LIMITS: Final = (
    "device_binding_unproven",
    "tpm_only",
    "root_of_trust_only",
    "tcb_level_unsaid",
    "development_root",
)
_CONSEQUENCES: Final = (
    "claim_not_vouched_for",
    "posture_noncompliant",
    "posture_not_compliant",
    "policy_denied",
)

_NATURES: Final = MappingProxyType(
    {code: nature for nature, codes in _TABLES.items() for code in codes}
)
_ALL: Final = (*(code for codes in _TABLES.values() for code in codes), *_LIMITS, *_CONSEQUENCES)
_PLACES: Final = MappingProxyType({code: place for place, code in enumerate(_ALL)})
_UNKNOWN: Final = len(_ALL)

SILENT: Final = frozenset(
    code for code in _TABLES[Nature.ours] if code.startswith(("policy_", "no_policy"))
)
"""Codes of a policy that gave no answer: nothing was appraised by it."""


def nature_of(code: str) -> Nature:
    """Return the kind of fault that a code names."""
    return _NATURES.get(code, Nature.configuration)


def weight_of(code: str) -> Weight:
    """Return whether a code can name a cause."""
    if code in _LIMITS:
        return Weight.limit
    return Weight.consequence if code in _CONSEQUENCES else Weight.cause


def place_of(code: str) -> int:
    """Return the place of a code among all; those that no table knows share the last one."""
    return _PLACES.get(code, _UNKNOWN)


def known(code: str) -> bool:
    """Tell whether a table knows the code."""
    return code in _PLACES
