"""The reference value nearest to what was found: by structure, never by distance (F26).

Digests that differ in one bit are as far apart as any two. What is near is a value for the same
place: the same register, the same component, the same file. Where several sets have one, the set
that agrees with most of the node's other measurements describes the machine most like it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

MOST_ACCEPTED: Final = 8  # values told; an answer stays readable


@unique
class Standing(StrEnum):
    """Whether a value counts; the order is that of preference among equals."""

    in_force = "in force"
    expired = "expired"  # its set has ended
    staged = "staged"  # its set was imported and not activated
    withdrawn = "withdrawn"
    revoked = "revoked"  # its set was


_PREFERENCE: Final = tuple(Standing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A reference value that could stand in the place of what was found.

    Attributes:
        set_name: the set.
        name: what the set calls the value.
        place: what it is a value of, in words.
        value: the value itself.
        standing: whether it counts now.
        same: it is the very value that was found.
        agreeing: how many of the node's other measurements its set has.
        readable: whether the reader may read the set.
        note: why it was withdrawn, or when it ended; may be empty.
    """

    set_name: str
    name: str
    place: str
    value: str
    standing: Standing
    same: bool = False
    agreeing: int = 0
    readable: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What reference values say about the place of a finding.

    Attributes:
        nearest: the nearest one that may be shown, or None.
        accepted: those in force that may be shown, at most `MOST_ACCEPTED`.
        more: how many more are in force.
        hidden: another set has one, and the reader may not read it.
    """

    nearest: Candidate | None
    accepted: tuple[Candidate, ...]
    more: int
    hidden: bool


NOTHING_NEAR: Final = Neighbourhood(nearest=None, accepted=(), more=0, hidden=False)


def neighbourhood(candidates: Iterable[Candidate]) -> Neighbourhood:
    """Return the nearest of the readable candidates, and which of them would be accepted."""
    every = tuple(candidates)
    readable = sorted((one for one in every if one.readable), key=_key)
    accepted = [one for one in readable if one.standing is Standing.in_force]
    return Neighbourhood(
        nearest=readable[0] if readable else None,
        accepted=tuple(accepted[:MOST_ACCEPTED]),
        more=max(0, len(accepted) - MOST_ACCEPTED),
        hidden=not readable and bool(every),
    )


def _key(one: Candidate) -> tuple[object, ...]:
    return (
        not one.same,
        -one.agreeing,
        _PREFERENCE.index(one.standing),
        one.set_name,
        one.name,
        one.value,
    )
