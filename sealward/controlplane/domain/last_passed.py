"""When a claim last passed on a node, from what was decided about the node before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sealward.controlplane.domain.decisions import DecisionKind
from sealward.controlplane.domain.explanations import Finding, Source
from sealward.controlplane.domain.finding_codes import SILENT

LOOK_BACK: Final = 256  # decisions; a day of a node that renews every five minutes

# Of a revocation no claim is looked at.
_APPRAISED: Final = frozenset((DecisionKind.enroll, DecisionKind.attest, DecisionKind.reappraise))
_OF_FRESH_EVIDENCE: Final = frozenset((DecisionKind.enroll, DecisionKind.attest))


@dataclass(frozen=True, slots=True)
class Past:
    """One earlier decision about the node, and what was held against it then."""

    decided: datetime
    kind: DecisionKind
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPassed:
    """When a claim last passed.

    Attributes:
        at: the instant of the decision; None when no decision looked at says so.
        decisions: how many were looked at.
        back_to: the oldest of them; None when there was none.
    """

    at: datetime | None
    decisions: int
    back_to: datetime | None


def last_passed(
    one: Finding, past: Sequence[Past], *, leased: datetime | None = None
) -> LastPassed:
    """Return when the claim of a finding last passed.

    Args:
        one: the finding.
        past: decisions before the one that it stands in, newest first.
        leased: when the workload of the finding was last granted to this node.
    """
    back_to = past[-1].decided if past else None
    if one.workload is not None:
        return LastPassed(at=leased, decisions=len(past), back_to=back_to)
    at = next((earlier.decided for earlier in past if _passed(one, earlier)), None)
    return LastPassed(at=at, decisions=len(past), back_to=back_to)


def _passed(one: Finding, earlier: Past) -> bool:
    if one.source is Source.refusal:  # whatever was appraised had passed the verifier
        return earlier.kind in _OF_FRESH_EVIDENCE
    if earlier.kind not in _APPRAISED or any(f.code in SILENT for f in earlier.findings):
        return False
    if one.claim is None:
        return all(f.code != one.code for f in earlier.findings)
    return all(f.claim != one.claim for f in earlier.findings)
