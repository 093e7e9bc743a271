"""Which of the files that kernels measured are reference values in force, asked once for a fleet.

A node's list names thousands of digests, the same ones as its neighbours' and as an hour ago. What
the database said of a digest stands while the fence of reference values does: whatever makes or
unmakes a value moves it. Only the end of a set comes by itself, and is looked at each time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sealward.controlplane.domain.nodes import ReferenceMatch
from sealward.controlplane.domain.reference_values import ReferenceSet
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.runtime_log import REFERENCE_KIND

_REMEMBERED: Final = 250_000  # digests, of some 300 bytes each


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFiles:
    """Those of some digests that are reference values in force.

    Attributes:
        matches: one for each, in the order in which they were asked for.
        sets: the sets that they stand in, by name.
    """

    matches: tuple[ReferenceMatch, ...]
    sets: tuple[ReferenceSet, ...]

    @property
    def digests(self) -> frozenset[str]:
        """The digests alone."""
        return frozenset(match.key for match in self.matches)


@dataclass(frozen=True, slots=True)
class _Answer:
    match: ReferenceMatch
    sets: tuple[str, ...]  # none: it is not known


class FileBook:
    """Answers for one process; what it keeps is derived from the database."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        """Remember about `most` digests of a tenant."""
        self._most = most
        self._lock = threading.Lock()
        # By tenant, of one epoch; the inner dictionary is replaced and never changed.
        self._answers: dict[str, tuple[int, dict[str, _Answer]]] = {}

    def known(
        self, tx: Transaction, digests: Iterable[str], *, epoch: int, now: datetime
    ) -> KnownFiles:
        """Return which digests (lower-case hex) are known at `now`.

        Args:
            tx: one snapshot.
            digests: each once.
            epoch: value of the fence of reference values, in that snapshot.
            now: for the end of sets.
        """
        answers = self._asked(tx, tuple(digests), epoch, now)
        names = {name for some in {answer.sets for answer in answers} for name in some}
        found = (tx.references.get_set(name) for name in sorted(names))
        sets = tuple(one for one in found if one.not_after is None or one.not_after > now)
        ended = names - {one.name for one in sets}
        return KnownFiles(
            matches=tuple(
                answer.match
                for answer in answers
                if answer.sets and not (ended and ended.issuperset(answer.sets))
            ),
            sets=sets,
        )

    def _asked(
        self, tx: Transaction, digests: tuple[str, ...], epoch: int, now: datetime
    ) -> list[_Answer]:
        with self._lock:
            at, known = self._answers.get(tx.tenant, (epoch, {}))
        answers = known if at == epoch else {}
        missing = [digest for digest in digests if digest not in answers]
        if missing:
            fresh = _ask(tx, missing, now)
            answers = {**answers, **fresh}
            self._remember(tx.tenant, epoch, fresh)
        return [answers[digest] for digest in digests]

    def _remember(self, tenant: str, epoch: int, fresh: dict[str, _Answer]) -> None:
        with self._lock:
            at, known = self._answers.get(tenant, (epoch, {}))
            if at > epoch:
                return  # asked in a snapshot that is over
            kept = {**known, **fresh} if at == epoch else fresh
            self._answers[tenant] = epoch, (kept if len(kept) <= self._most else fresh)


def _ask(tx: Transaction, digests: list[str], now: datetime) -> dict[str, _Answer]:
    standing: dict[str, tuple[str, ...]] = {}
    for digest, set_name in tx.references.standing(REFERENCE_KIND, digests, now):
        standing[digest] = (*standing.get(digest, ()), set_name)
    return {
        digest: _Answer(ReferenceMatch(REFERENCE_KIND, digest), standing.get(digest, ()))
        for digest in digests
    }
