"""Collateral as the control plane keeps it: pieces, floors, and the rule between them (F19).

docs/specs/collateral.md sections 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum, unique
from typing import Final

from sealward.verifier.rats.collateral import Key, Kind

KEPT_SUPERSEDED: Final = 3  # older pieces of a key that stay to be looked at

# They only add what somebody may show; nothing rests on their absence.
_ONLY_GIVES: Final = frozenset({Kind.AMD_VEK, Kind.AMD_CHAIN})


@unique
class CollateralState(StrEnum):
    """`current` is what verification is answered with; there is at most one of each key."""

    current = "current"
    superseded = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One piece whose signature, chain and dates held at the instant of inspection.

    Attributes:
        key: as its bytes say.
        content: its bytes in the form that the verifier reads.
        issuers: PEM chain that it was verified under, where evidence brings it along and archives
            must; else empty.
        issued: aware UTC.
        next_update: after which it may not be used.
        number: of a revocation list, or tcbEvaluationDataNumber; None where there is none.
        signer: the subject that vouches for it.
        development: whether it ends in a development root.
    """

    key: Key
    content: bytes = field(repr=False)
    issuers: bytes = field(default=b"", repr=False)
    issued: datetime
    next_update: datetime
    number: int | None
    signer: str
    development: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCollateral:
    """One accepted piece; `digest` is the lower hex SHA-256 of `content`."""

    digest: str
    kind: Kind
    name: str
    content: bytes = field(repr=False)
    issuers: bytes = field(repr=False)
    state: CollateralState
    issued: datetime
    next_update: datetime
    number: int | None
    signer: str
    development: bool
    source: str  # "import" or "fetch"
    accepted: datetime
    entry_id: str

    @property
    def key(self) -> Key:
        """What it is collateral for."""
        return Key(self.kind, self.name)

    @property
    def half_life(self) -> datetime:
        """The instant from which a newer piece is looked for."""
        return self.issued + (self.next_update - self.issued) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CollateralFloor:
    """The highest number and the latest issue date ever accepted for a key; never lowered."""

    kind: Kind
    name: str
    number: int | None
    issued: datetime

    def objection(self, piece: Inspected) -> str | None:
        """Return why `piece` is below this floor, or None."""
        if self.number is not None and (piece.number is None or piece.number < self.number):
            return f"its number is {piece.number}, and {self.number} was accepted before"
        if piece.issued < self.issued:
            return (
                f"it was issued {piece.issued.isoformat()}, and one of"
                f" {self.issued.isoformat()} was accepted before"
            )
        return None

    def raised(self, piece: Inspected) -> CollateralFloor:
        """Return the floor after `piece` was accepted."""
        numbers = [n for n in (self.number, piece.number) if n is not None]
        return replace(
            self, number=max(numbers, default=None), issued=max(self.issued, piece.issued)
        )


def takes_away(kind: Kind) -> bool:
    """Whether a new piece of this kind can end what was granted under the one before it."""
    return kind not in _ONLY_GIVES
