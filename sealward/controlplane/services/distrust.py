"""The distrust list: reference values that take trust away (F6; docs/specs/collateral.md 7).

Matched here, with claims that are fresh or on record alike, in the snapshot that a decision reads:
so an entry counts from the transaction that put it in force, and no list has to be carried to where
evidence is verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from sealward.controlplane.domain.reference_values import ReferenceValue
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.result import Verdict, VerdictCode
from sealward.verifier.wire import json

DISTRUST: Final = "distrust"  # kind of the reference values
CRITERIA: Final = ("platform_id", "provider", "product")  # the narrowest first
_MAX_VALUE: Final = 65_536
_EXPECTED: Final = "hardware without a known break"


def verdicts(entries: Sequence[ReferenceValue], claims: ClaimsDocument) -> tuple[Verdict, ...]:
    """Return one verdict for each entry that the claims, or those of a device, match."""
    return tuple(_matching(entries, claims)) if entries else ()


def in_force(tx: Transaction, now: datetime) -> tuple[ReferenceValue, ...]:
    """Return the entries of the lists in force."""
    return tx.references.in_force(DISTRUST, now)


def _matching(entries: Iterable[ReferenceValue], claims: ClaimsDocument) -> Iterator[Verdict]:
    described = tuple(_described(claims.values, ""))
    for entry in entries:
        value = json.decode(entry.value, what="stored distrust entry", max_bytes=_MAX_VALUE)
        if not isinstance(value, dict):
            raise TypeError("a stored distrust entry is an object")
        wanted = {name: value[name] for name in CRITERIA if value.get(name) is not None}
        for path, subject in described:
            if wanted and all(_same(subject.get(name), one) for name, one in wanted.items()):
                yield Verdict(
                    code=VerdictCode.DISTRUSTED,
                    claim=path + next(iter(wanted)),
                    expected=_EXPECTED,
                    actual=f"{entry.key}: {value['reason']}",
                )


def _same(claim: object, named: object) -> bool:
    """Whether a claim is what an entry names, in either case: one that missed would say nothing."""
    return isinstance(claim, str) and claim.casefold() == str(named).casefold()


def _described(
    claims: Mapping[str, json.Canonical], path: str
) -> Iterator[tuple[str, Mapping[str, json.Canonical]]]:
    """Yield claims with their path: the machine's, then those of its devices."""
    yield path, claims
    submods = claims.get("submods")
    if isinstance(submods, Mapping):
        for label, inner in submods.items():
            if isinstance(inner, Mapping):
                yield from _described(inner, f"{path}submods.{label}.")
