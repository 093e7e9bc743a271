"""Reading back what a decision recorded: claims and verdicts of a node's latest evidence."""

from __future__ import annotations

from typing import cast

from sealward.controlplane.domain.nodes import NodeEvidence
from sealward.controlplane.services.facts import Document
from sealward.verifier.rats.result import Tier, Verdict, VerdictCode
from sealward.verifier.wire import json

_MAX_BYTES = 1 << 20


def claims_of(evidence: NodeEvidence) -> Document:
    """Return the claims as they were appraised.

    Raises:
        MalformedEvidence: the row does not hold what was written (a damaged database).
    """
    value = json.decode(evidence.claims, what="recorded claims", max_bytes=_MAX_BYTES)
    return cast("Document", value)


def verdicts_of(claims: Document) -> tuple[Verdict, ...]:
    """Return the verifier's verdicts as they were recorded with the claims.

    Raises:
        ValueError: a code or tier that no verifier of ours writes.
    """
    recorded = cast("list[dict[str, str | int]]", claims.get("verdicts", []))
    return tuple(
        Verdict(
            code=VerdictCode(str(item["code"])),
            claim=str(item["claim"]),
            expected=str(item["expected"]),
            actual=str(item["actual"]),
            tier=Tier(int(item["tier"])),
        )
        for item in recorded
    )
