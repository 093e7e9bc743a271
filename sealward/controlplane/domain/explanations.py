"""Which of many findings is the one cause of a denial (docs/specs/explanations.md, 1 and 2).

Findings come from three places that know nothing of each other: the verifier, plain rules of the
control plane, and policies of several layers. All of them are recorded as reasons; here they are
read back and put into one order, whose first is the cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum, unique
from typing import Final

from sealward.controlplane.domain.finding_codes import (
    Nature,
    Weight,
    nature_of,
    place_of,
    weight_of,
)
from sealward.controlplane.domain.policies import Scalar
from sealward.verifier.rats.result import Verdict
from sealward.verifier.wire import json

VERIFIER: Final = "verifier"  # layer and rule of what the verifier says
CONTROL_PLANE: Final = "controlplane"

_MAX_TEXT: Final = 1024  # characters of one recorded member; the least of all sources allows 512
_NUMBERS: Final = re.compile(r"([0-9]{1,18})")


@unique
class Source(StrEnum):
    """Who found it, the most certain first."""

    refusal = "refusal"  # evidence or binding failed before anything was appraised
    verdict = "verdict"  # the verifier, of evidence that is otherwise genuine
    control_plane = "controlplane"
    policy = "policy"


class _Rank(IntEnum):
    """Sources as numbers."""

    refusal = 0
    verdict = 1
    controlplane = 2
    policy = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing held against a node.

    Attributes:
        code: stable word.
        source: who found it.
        rule: the package, or the part of us, that said it.
        layer: the policy layer, "verifier" or "controlplane".
        claim: path of the claim concerned, or None where no single one is.
        expected: what would have been accepted.
        actual: what was found, exactly as found.
        hint: what whoever said it adds; may be empty.
        workload: the workload that was denied; None where the node itself is concerned.
    """

    code: str
    source: Source
    rule: str
    layer: str
    claim: str | None
    expected: Scalar
    actual: Scalar
    hint: str = ""
    workload: str | None = None

    @property
    def nature(self) -> Nature:
        """What kind of fault it is."""
        return nature_of(self.code)

    @property
    def weight(self) -> Weight:
        """Whether it can be the cause of anything."""
        return weight_of(self.code)

    def to_json(self) -> dict[str, json.Canonical]:
        """Return the finding in the form of a recorded reason."""
        told: dict[str, json.Canonical] = {
            "code": self.code,
            "claim": self.claim,
            "expected": self.expected,
            "actual": self.actual,
            "hint": self.hint,
            "layer": self.layer,
            "rule": self.rule,
        }
        return told if self.workload is None else {**told, "workload": self.workload}


def of_verdict(verdict: Verdict) -> Finding:
    """Return what the verifier holds against evidence as a finding."""
    return Finding(
        code=verdict.code.value,
        source=Source.verdict,
        rule=VERIFIER,
        layer=VERIFIER,
        claim=f"claims.{verdict.claim}",
        expected=verdict.expected,
        actual=verdict.actual,
        hint="this is the verifier's own verdict; no policy can lift it",
    )


def finding(reason: Mapping[str, object], *, refusal: bool = False) -> Finding:
    """Return what a recorded reason says; a member that is missing or of another type is nothing.

    Args:
        reason: a reason as decisions and attempts record it.
        refusal: whether it made an attempt fail before appraisal.
    """
    layer = _text(reason.get("layer")) or CONTROL_PLANE
    claim, workload = reason.get("claim"), reason.get("workload")
    return Finding(
        code=_text(reason.get("code")),
        source=Source.refusal if refusal else _source(layer),
        rule=_text(reason.get("rule")),
        layer=layer,
        claim=claim if isinstance(claim, str) else None,
        expected=_scalar(reason.get("expected")),
        actual=_scalar(reason.get("actual")),
        hint=_text(reason.get("hint")),
        workload=workload if isinstance(workload, str) else None,
    )


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with the top cause first: the same order whatever order they come in."""
    return tuple(sorted(dict.fromkeys(findings), key=_key))


def top(findings: Iterable[Finding]) -> Finding | None:
    """Return the one top cause; None only of nothing."""
    return next(iter(ordered(findings)), None)


def _key(one: Finding) -> tuple[object, ...]:
    return (
        one.weight,
        _Rank[one.source.value],
        one.nature.rank,
        place_of(one.code),
        _natural(one.claim or ""),
        one.code,
        one.workload or "",
        str(one.actual),
        one.rule,
        one.layer,
        str(one.expected),
        one.hint,
    )


def _natural(path: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that puts pcr4 before pcr10."""
    parts = _NUMBERS.split(path)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p)


def _source(layer: str) -> Source:
    if layer == VERIFIER:
        return Source.verdict
    return Source.control_plane if layer == CONTROL_PLANE else Source.policy


def _text(value: object) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _scalar(value: object) -> Scalar:
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    return value if value is None or isinstance(value, bool | int) else None
