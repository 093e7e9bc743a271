"""Reading back what a decision recorded: claims and verdicts of a node's latest evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from sealward.controlplane.domain.nodes import NodeEvidence
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.result import Tier, Verdict, VerdictCode


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is on record about a node's latest evidence.

    Attributes:
        claims: as they were appraised; empty when the record cannot be read.
        verdicts: the verifier's own, as they were recorded with the claims.
        readable: False for a record of another build that this one does not understand, or a
            damaged one: it vouches for nothing.
    """

    claims: ClaimsDocument
    verdicts: tuple[Verdict, ...]
    readable: bool


def recorded(evidence: NodeEvidence) -> Recorded:
    """Return what is on record, whatever the row holds."""
    try:
        claims = ClaimsDocument.recorded(evidence.claims)
        return Recorded(claims, _verdicts(claims), readable=True)
    except (MalformedEvidence, AttributeError, KeyError, TypeError, ValueError):
        return Recorded(ClaimsDocument.empty(), (), readable=False)


def _verdicts(claims: ClaimsDocument) -> tuple[Verdict, ...]:
    items = cast("list[dict[str, str | int]]", claims.values["verdicts"])
    return tuple(
        Verdict(
            code=VerdictCode(str(item["code"])),
            claim=str(item["claim"]),
            expected=str(item["expected"]),
            actual=str(item["actual"]),
            tier=Tier(int(item["tier"])),
        )
        for item in items
    )
