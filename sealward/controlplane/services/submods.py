"""Other attesters in the same evidence: the devices of a composite, and what is held against them.

A node is as good as the worst of its devices: one verdict, with a vector for each
(docs/specs/policy-contract.md, section 2.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from sealward.controlplane.domain.policies import REQUIRED
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.verifier.rats.result import (
    Posture,
    Tier,
    TrustVector,
    Verdict,
    VerdictCode,
    cap,
    posture,
)

SUBMODS: Final = "submods"
_ORDER: Final = (Posture.COMPLIANT, Posture.WARNING, Posture.NONCOMPLIANT)


@dataclass(frozen=True, slots=True)
class Device:
    """One device.

    Attributes:
        label: the verifier's name for it.
        vector: what the policies answered, all `none` when none spoke of it; not capped.
        verdicts: the verifier's own, each claim's path from the claims of the node.
    """

    label: str
    vector: TrustVector
    verdicts: tuple[Verdict, ...]

    def posture(self, deciding: Sequence[Verdict]) -> Posture:
        """Return what it comes to under those of its verdicts that decide."""
        own = [verdict for verdict in self.verdicts if verdict in deciding]
        return posture(cap(self.vector, own), REQUIRED)


def devices(
    claims: ClaimsDocument,
    vectors: tuple[tuple[str, TrustVector], ...],
    verdicts: tuple[Verdict, ...] = (),
) -> tuple[Device, ...]:
    """Return the devices of the claims; a vector of anything else says nothing.

    Args:
        claims: which hold the verifier's own verdicts on each device.
        vectors: what the policies answered, by label.
        verdicts: on the node with all its devices; lists of ours have theirs only here.
    """
    found = claims.values.get(SUBMODS)
    if not isinstance(found, Mapping):
        return ()
    told = dict(vectors)
    return tuple(
        Device(
            label=label,
            vector=told.get(label, TrustVector()),
            verdicts=_about(f"{SUBMODS}.{label}.", found[label], verdicts),
        )
        for label in sorted(found)
    )


def _about(prefix: str, claims: object, verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    more = (verdict for verdict in verdicts if verdict.claim.startswith(prefix))
    return tuple(dict.fromkeys((*read_verdicts(claims, prefix), *more)))


def own_verdicts(verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """Return those that are about the machine: its claims repeat what is held against devices."""
    return tuple(v for v in verdicts if not v.claim.startswith(f"{SUBMODS}."))


def worst(postures: Sequence[Posture]) -> Posture:
    """Return the worst of what vectors came to; at least one."""
    return max(postures, key=_ORDER.index)


def read_verdicts(claims: object, prefix: str = "") -> tuple[Verdict, ...]:
    """Return the verdicts that stand in claims, as `Claims.to_json` writes them.

    Raises:
        KeyError, TypeError, ValueError: a record of another build, or a damaged one.
    """
    items = cast("Mapping[str, Sequence[Mapping[str, str | int]]]", claims)["verdicts"]
    return tuple(
        Verdict(
            code=VerdictCode(str(item["code"])),
            claim=f"{prefix}{item['claim']}",
            expected=str(item["expected"]),
            actual=str(item["actual"]),
            tier=Tier(int(item["tier"])),
        )
        for item in items
    )
