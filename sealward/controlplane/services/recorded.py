"""Reading back what a decision recorded: claims and verdicts of a node's latest evidence."""

from __future__ import annotations

from dataclasses import dataclass

from sealward.controlplane.domain.nodes import NodeEvidence
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.submods import read_verdicts
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.result import Verdict


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
        return Recorded(claims, read_verdicts(claims.values), readable=True)
    except (MalformedEvidence, AttributeError, KeyError, TypeError, ValueError):
        return Recorded(ClaimsDocument.empty(), (), readable=False)
