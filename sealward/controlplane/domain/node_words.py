"""What a node may know of a refusal (F26, docs/specs/explanations.md 5).

A node is told what it could work out itself from the public protocol: that its challenge is spent,
that its binding names another audience, where it stands. What depends on reference values,
policies, lists or other nodes comes as one word for all of it: whoever tunes a forgery must not
learn which field is left to tune.
"""

from __future__ import annotations

from typing import Final

from sealward.controlplane.domain.errors import Code
from sealward.controlplane.domain.policies import Admission

# Denials of a workload that say nothing but what the node sent or was told already.
_OWN: Final = frozenset((Code.posture_noncompliant, Code.tpm_lock_missing, Code.horizon_passed))
_STANDING: Final = frozenset((Code.node_quarantined, Code.node_retired))
# Refusals by lists of ours, and what is wrong with collateral that the node never saw.
_LISTED: Final = frozenset(
    (
        Code.platform_denied,
        Code.trust_anchor_removed,
        Code.device_elsewhere,
        Code.collateral_invalid,
        Code.collateral_expired,
        Code.collateral_rolled_back,
    )
)


def of_refusal(code: Code) -> Code:
    """Return the word for a call that was refused outright."""
    return Code.evidence_refused if code in _LISTED else code


def of_posture(code: str) -> str:
    """Return the word for a posture that does not pass; empty for one that does."""
    return Code.posture_noncompliant.value if code else ""


def of_admission(admission: Admission, code: str) -> str:
    """Return the word for an enrolment that is not admitted."""
    if code in _STANDING:
        return code
    pended = admission is Admission.PEND
    return Code.node_pending.value if pended else Code.node_rejected.value


def of_workload(code: str) -> str:
    """Return the word for a workload that is not granted."""
    return code if code in _OWN else Code.policy_denied.value
