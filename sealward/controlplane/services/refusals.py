"""What the verifier raises, in the words of the domain."""

from __future__ import annotations

from typing import Final

from sealward.controlplane.domain.errors import Code, Refused
from sealward.verifier.rats import errors as verifier_errors

MEND: Final = "collect fresh evidence for a fresh challenge"


def refused(error: verifier_errors.VerifierError) -> Refused:
    """Return the domain's refusal for what the verifier raised."""
    if isinstance(error, verifier_errors.MalformedEvidence):
        return Refused(Code.evidence_malformed, error.detail, "send what the format allows")
    if error.code is verifier_errors.Code.BINDING_MISMATCH:
        return Refused(Code.binding_mismatch, error.detail, MEND)
    hint = getattr(error, "hint", None)
    return Refused(Code.evidence_refused, f"{error.code}: {error.detail}", hint or MEND)
