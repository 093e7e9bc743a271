"""What one verification sees of the store, and under which fences.

Pieces are remembered in memory under the epoch of the whole store; a verification reads that one
number, and the rows only after something was accepted. What it asked for, found or not, comes
with the epoch of each key: a decision that commits under them rests on what is held now.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.nodes import ReferenceMatch
from sealward.controlplane.services.ports import Database, Transaction
from sealward.verifier.rats.collateral import Key, Source

MATCH_KIND: Final = "collateral"  # in the index from what evidence rests on to nodes
_REMEMBERED: Final = 4096  # keys: an endorsement key has 1.4 KiB, a TCB info 20


@dataclass(frozen=True, slots=True)
class _Remembered:
    epoch: int
    content: bytes | None = field(repr=False)


class CollateralBook:
    """Pieces in memory; one for each process, shared between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._epoch = -1
        self._pieces: OrderedDict[Key, _Remembered] = OrderedDict()
        self._lock = threading.Lock()

    def view(self) -> CollateralView:
        """Return the view of one verification; it reads nothing before it is asked."""
        return CollateralView(self)

    def generation(self) -> int:
        """Return the epoch of the whole store: it moves with every accepted piece."""
        return self._database.read(lambda tx: tx.epochs.read((fences.COLLATERAL,)))[
            fences.COLLATERAL
        ]

    def look_up(self, key: Key, generation: int) -> _Remembered:
        """Return what is held for a key and the epoch that it was read under."""
        with self._lock:
            if generation > self._epoch:
                self._pieces.clear()
                self._epoch = generation
            found = self._pieces.get(key)
            if found is not None:
                self._pieces.move_to_end(key)
                return found
        return self._load(key)

    def _load(self, key: Key) -> _Remembered:
        scope = fences.collateral(key)

        def read(tx: Transaction) -> tuple[int, _Remembered]:
            epochs = tx.epochs.read((fences.COLLATERAL, scope))
            piece = tx.collateral.current(key)
            content = None if piece is None else piece.content
            return epochs[fences.COLLATERAL], _Remembered(epochs[scope], content)

        epoch, found = self._database.read(read)
        with self._lock:
            if epoch == self._epoch:  # else something was accepted meanwhile: remember nothing
                self._pieces[key] = found
                if len(self._pieces) > _REMEMBERED:
                    self._pieces.popitem(last=False)
        return found


class CollateralView:
    """rats.collateral.Source for one verification: the same answer for a key, however often."""

    def __init__(self, book: CollateralBook) -> None:
        self._book = book
        self._generation: int | None = None
        self._seen: dict[Key, _Remembered] = {}

    def get(self, key: Key) -> bytes | None:
        """Return what is held for a key, or None."""
        found = self._seen.get(key)
        if found is None:
            if self._generation is None:
                self._generation = self._book.generation()
            found = self._seen[key] = self._book.look_up(key, self._generation)
        return found.content

    @property
    def epochs(self) -> Mapping[str, int]:
        """Fence values of the keys that were asked for."""
        return {fences.collateral(key): found.epoch for key, found in self._seen.items()}

    @property
    def absent(self) -> tuple[Key, ...]:
        """What was asked for and is not held, though verification could do without it."""
        return tuple(key for key, found in self._seen.items() if found.content is None)

    @property
    def matches(self) -> tuple[ReferenceMatch, ...]:
        """What was asked for, as the index that finds the nodes of a key keeps it."""
        return tuple(ReferenceMatch(MATCH_KIND, str(key)) for key in sorted(self._seen))


class Proposed:
    """A source in which one proposed piece stands in the place of what is held."""

    def __init__(self, key: Key, content: bytes, held: Source) -> None:
        self._key = key
        self._content = content
        self._held = held

    def get(self, key: Key) -> bytes | None:
        """Return the proposed piece for its key, else what is held."""
        return self._content if key == self._key else self._held.get(key)
