"""What the verifier raises, in the words of the domain; and any refusal as a finding."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sealward.controlplane.domain.errors import Code, DomainError, Refused
from sealward.controlplane.domain.explanations import CONTROL_PLANE, VERIFIER, Finding, Source
from sealward.verifier.rats import errors as verifier_errors

MEND: Final = "collect fresh evidence for a fresh challenge"

# Where a refusal of ours lies, and what would have been accepted there.
_PLACES: Final = MappingProxyType(
    {
        Code.purpose_mismatch: ("binding.purpose", "the purpose of this call"),
        Code.audience_mismatch: ("binding.audience", "this control plane's trust configuration"),
        Code.tenant_mismatch: ("binding.tenant", "the tenant of this control plane"),
        Code.key_mismatch: ("binding.tls_spki", "the key of this connection"),
        Code.challenge_mismatch: ("binding.nonce", "the nonce of the challenge of this call"),
        Code.challenge_expired: ("challenge", "a challenge that has not expired"),
        Code.challenge_invalid: ("challenge", "a challenge of this control plane"),
        Code.binding_mismatch: ("claims.report_data", "the digest of the binding"),
        Code.instance_changed: ("claims.instance_value", "the instance that enrolled this key"),
        Code.clone_detected: ("binding.ratchet", "the secret of the last answer, once"),
        Code.server_rolled_back: ("binding.ratchet", "a secret that this control plane gave"),
        Code.credential_missing: ("credential_proof", "a credential opened by this TPM"),
        Code.credential_invalid: ("credential_proof", "a credential opened by this TPM"),
        Code.runtime_log_gap: ("runtime_log.first", "the entry after the last proven one"),
        Code.payload_too_large: ("evidence", "evidence within the budget"),
        Code.join_token_invalid: ("join_token", "a join token of this tenant"),
        Code.join_token_expired: ("join_token", "a join token that has not expired"),
        Code.join_token_spent: ("join_token", "a join token that nobody used"),
        Code.node_pending: ("node.state", "admitted"),
        Code.node_rejected: ("node.state", "admitted"),
        Code.node_retired: ("node.state", "admitted"),
        Code.node_quarantined: ("node.posture", "no quarantine"),
        Code.node_unknown: ("node", "a node that has enrolled"),
    }
)


def refused(error: verifier_errors.VerifierError) -> Refused:
    """Return the domain's refusal for what the verifier raised."""
    if isinstance(error, verifier_errors.MalformedEvidence):
        return Refused(Code.evidence_malformed, error.detail, "send what the format allows")
    if error.code is verifier_errors.Code.BINDING_MISMATCH:
        return Refused(Code.binding_mismatch, error.detail, MEND)
    hint = getattr(error, "hint", None)
    return Refused(Code.evidence_refused, f"{error.code}: {error.detail}", hint or MEND)


def finding_of(error: DomainError) -> Finding:
    """Return a refusal as a finding: in the verifier's own words where it was the verifier's."""
    cause = error.__cause__
    if isinstance(cause, verifier_errors.VerifierError):
        return finding_of_verifier(cause)
    claim, expected = _PLACES.get(error.code, (None, None))
    return Finding(
        code=error.code.value,
        source=Source.refusal,
        rule=CONTROL_PLANE,
        layer=CONTROL_PLANE,
        claim=claim,
        expected=expected,
        actual=error.detail,
        hint=error.hint,
    )


def finding_of_verifier(error: verifier_errors.VerifierError) -> Finding:
    """Return what the verifier refused as a finding."""
    told = error if isinstance(error, verifier_errors.RefusedEvidence) else None
    return Finding(
        code=error.code.value,
        source=Source.refusal,
        rule=VERIFIER,
        layer=VERIFIER,
        claim=None if told is None else told.claim,
        expected="what the format allows" if told is None else told.expected,
        actual=error.detail if told is None or told.actual is None else told.actual,
        hint=(told.hint if told is not None else None) or "",
    )
