"""Which reference sets describe the boot that evidence is of (docs/specs/tpm-node.md 6).

Of a TPM that is a boot by its PCRs (kind `pcr`, domain/boots.py), of other evidence a launch by its
registers (kind `register`, domain/launches.py); the rule is one.

A set describes one boot. It is the one that was quoted when the quoted registers are exactly those
that it describes, each with the value that it describes, and all of these values are in force:

- values of several sets never add up, or a mixture of two boots would pass that nobody reviewed;
- a register that is not quoted counts as one with another value, or whoever ran what a withdrawn
  value stands for would just leave that register out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sealward.controlplane.domain.reference_values import ReferenceValue
from sealward.controlplane.services.ports import Transaction

PCR: Final = "pcr"
REGISTER: Final = "register"

_MOST_TOLD: Final = 12  # of each kind: a reason of a policy holds 512 characters

_MOST_SETS: Final = 4  # for each register: boots share a firmware


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestBoot:
    """The set with most of the quoted values, and what keeps it from describing the quoted boot.

    Registers are named <bank>/<index> or <tee>/<name>, in order, at most 12 in each list.

    Attributes:
        set_name: the set; the first by name of several.
        other_value: described with another value than was quoted, or with one out of force.
        not_quoted: described and not quoted.
        not_described: quoted and not described.
    """

    set_name: str
    other_value: tuple[str, ...]
    not_quoted: tuple[str, ...]
    not_described: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBoot:
    """What is known of one quoted boot.

    Attributes:
        registers: keys of the quoted registers that are known one by one, each with the first sets
            that describe it.
        values: the values of all sets that describe the boot, by set; all of them count, as where
            several sets describe one measurement.
        nearest: where none does, and some set knows some of its registers.
    """

    registers: tuple[tuple[str, tuple[str, ...]], ...]
    values: tuple[ReferenceValue, ...]
    nearest: NearestBoot | None


def find(tx: Transaction, quoted: frozenset[str], now: datetime, kind: str = PCR) -> KnownBoot:
    """Return what is known of a boot.

    Boots share registers: of those that are not the quoted one only names are read.

    Args:
        tx: one snapshot.
        quoted: keys of the quoted registers: <bank>/<index>/<hex value>, or
            <tee>/<name>/<hex value>.
        now: for the end of sets.
        kind: `PCR` or `REGISTER`.
    """
    by_set: dict[str, set[str]] = {}
    by_key: dict[str, list[str]] = {}
    for key, set_name in tx.references.standing(kind, sorted(quoted), now):
        by_set.setdefault(set_name, set()).add(key)
        by_key.setdefault(key, []).append(set_name)
    # What stands is what was quoted, so that a set which describes more is found out here alone.
    whole = [name for name in sorted(by_set) if by_set[name] == quoted]
    found = [
        values for name in whole if _keys(values := tx.references.of_kind(name, kind)) == quoted
    ]
    nearest = None
    if by_set and not found:
        name = min(by_set, key=lambda name: (-len(by_set[name]), name))
        described = _keys(tx.references.of_kind(name, kind))
        nearest = _compared(name, quoted, described, by_set[name])
    return KnownBoot(
        registers=tuple((key, tuple(names[:_MOST_SETS])) for key, names in sorted(by_key.items())),
        values=tuple(value for values in found for value in values),
        nearest=nearest,
    )


def _keys(values: Iterable[ReferenceValue]) -> frozenset[str]:
    return frozenset(value.key for value in values)


def _compared(
    set_name: str, quoted: frozenset[str], keys: frozenset[str], standing: set[str]
) -> NearestBoot:
    ours = set(map(_place, quoted))
    described = set(map(_place, keys))
    agreed = set(map(_place, standing))
    return NearestBoot(
        set_name=set_name,
        other_value=_named((described & ours) - agreed),
        not_quoted=_named(described - ours),
        not_described=_named(ours - described),
    )


def _place(key: str) -> tuple[str, int, str]:
    """Return what to sort a register by: PCRs by number, others by name."""
    of, name, _ = key.split("/")
    return (of, int(name), name) if name.isdigit() else (of, -1, name)


def _named(places: set[tuple[str, int, str]]) -> tuple[str, ...]:
    return tuple(f"{of}/{name}" for of, _, name in sorted(places)[:_MOST_TOLD])
