"""What would mend a fault that the verifier or the control plane itself has found.

A policy's reason carries its author's own hint; these are ours, one sentence a code.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

_AGAIN: Final = "collect fresh evidence for a fresh challenge"
_WHOLE: Final = "send the evidence as its attester made it; changed or cut evidence is refused"
_CHAIN: Final = "send the vendor's own certificate chain for the key that signed"
_RENEW: Final = "have the vendor's certificate renewed, or send the current one"
_FETCH: Final = "bring the collateral in: `sealward collateral import`, or let the fetcher reach it"
_PLACE: Final = "place the node on another platform, or have its provider mend this one"

_MENDS: Final = MappingProxyType(
    {
        "malformed": _WHOLE,
        "evidence_malformed": _WHOLE,
        "unsupported_format": "send a kind of evidence that this release verifies",
        "evidence_missing": "send the evidence beside its certificates",
        "evidence_ambiguous": "send one piece of evidence at a time",
        "endorsement_missing": _FETCH,
        "root_not_pinned": f"{_CHAIN}; a tenant's own root has to be a trust anchor first",
        "root_imitates_vendor": f"{_CHAIN}; this one only bears its name",
        "development_root_invalid": "mint a development root anew; they live for days",
        "chain_broken": _CHAIN,
        "certificate_forbidden": _CHAIN,
        "certificate_revoked": _PLACE,
        "certificate_not_yet_valid": "check the clock of the control plane, and wait for the date",
        "certificate_expired": _RENEW,
        "algorithm_forbidden": "have the key certified with an algorithm that is accepted",
        "collateral_not_yet_valid": "check the clock of the control plane, and wait for the date",
        "collateral_expired": _FETCH,
        "collateral_mismatch": "bring in the collateral of this very platform",
        "signature_invalid": _WHOLE,
        "key_kind_mismatch": _CHAIN,
        "product_mismatch": _CHAIN,
        "chip_mismatch": "send the certificate of the chip that signed",
        "tcb_mismatch": "send the certificate for the TCB that the evidence reports",
        "key_attributes_forbidden": "make a restricted attestation key that stays in its TPM",
        "attestation_key_unproven": _WHOLE,
        "qe_identity_mismatch": "update the quoting enclave of the platform",
        "tdx_module_mismatch": "update the TDX module of the platform",
        "tcb_level_unmatched": "update the platform's firmware to a level that the vendor lists",
        "parts_mismatch": "send parts of one machine: evidence, keys and logs belong together",
        "lifecycle_forbidden": "bring the device into its secured life cycle",
        "fwid_mismatch": "have the device attest anew after a full reset; its firmware has changed",
        "rim_conflict": "send one manifest for each component, of one version",
        "firmware_newer_than_rim": "bring in the manifest of the firmware that runs",
        "firmware_unknown": "run firmware that its vendor's manifests know",
        "device_repeated": "send the evidence of each device once",
        "device_binding_unproven": "run the workload where the processor vouches for its devices",
        "root_of_trust_only": "run the node as a confidential guest",
        "not_fresh": _AGAIN,
        "collateral_rolled_back": "bring in the vendor's newest collateral",
        "collateral_invalid": "bring in collateral that its vendor signed",
        "collateral_missing": _FETCH,
        "collateral_pending": "attest again; the collateral is being fetched",
        "pcr_mismatch": "send the register values that the quote is of",
        "lock_invalid": "have the agent make its lock object anew",
        "event_log_invalid": "send the firmware's event log as it lies in the machine",
        "event_log_mismatch": "send the firmware's event log of this very boot",
        "binding_mismatch": "put the digest of this very binding into the evidence",
        "audience_mismatch": "give the agent this control plane's trust configuration",
        "tenant_mismatch": "give the agent the trust configuration of its own tenant",
        "purpose_mismatch": "make the binding for the call that it goes with",
        "key_mismatch": "use one key for connection, binding and proof",
        "requester_mismatch": "request the evidence from inside the guest",
        "challenge_mismatch": _AGAIN,
        "challenge_spent": _AGAIN,
        "challenge_expired": f"{_AGAIN}, sooner after it was issued",
        "challenge_invalid": f"{_AGAIN} of this control plane",
        "instance_changed": "enrol again with fresh keys",
        "clone_detected": "retire the node; the genuine one enrols again with fresh keys",
        "server_rolled_back": "find out which database was restored; nodes enrol again",
        "credential_missing": "have the agent's TPM open a credential while it enrols",
        "credential_invalid": "have the TPM that holds the attestation key open the credential",
        "runtime_log_gap": "send the whole runtime log again",
        "payload_too_large": "send less: leave out logs and certificates that nothing asks for",
        "debug_enabled": "launch the guest with debugging disallowed by its launch policy",
        "vmpl_unexpected": "request the evidence from the most privileged level of the guest",
        "migration_enabled": "launch the guest without a migration agent",
        "development_root": "attest on hardware; a development root says nothing about any",
        "distrusted": _PLACE,
        "tpm_only": "run the node as a confidential guest",
        "key_residency_unproven": "enrol the node anew, so that its TPM opens a credential",
        "tcb_revoked": "update the platform's firmware; the vendor has revoked this level",
        "platform_denied": "allow the platform again, or place the node elsewhere",
        "device_elsewhere": "find out which node has the device, and retire the other one",
        "trust_anchor_removed": "add the anchor again if it may vouch, or replace the machine",
        "node_pending": "admit the node: `sealward node admit`",
        "node_rejected": "enrol again with fresh keys",
        "node_retired": "enrol again with fresh keys",
        "node_quarantined": "review the node, then release it: `sealward node release`",
        "node_unknown": "enrol first",
        "join_token_invalid": "create a join token: `sealward join-token create`",
        "join_token_expired": "create a join token: `sealward join-token create`",
        "join_token_spent": "create a join token for this node: `sealward join-token create`",
        "development_refused": "run the workload on a node under vendor roots",
        "tpm_lock_missing": "update the agent; one of today sends a lock object",
        "workload_unknown": "create the workload, or mend the name in the agent's settings",
        "model_unknown": "register a sealed model for the workload",
        "too_many_instances": "end another instance, or raise max_instances of the workload",
        "horizon_passed": "renew what ends first; the finding names it",
        "key_unusable": "look at the keystore: the workload's key does not open",
    }
)


def mend_of(code: str) -> str:
    """Return what would mend a fault with this code; empty when no table knows it."""
    return _MENDS.get(code, "")
