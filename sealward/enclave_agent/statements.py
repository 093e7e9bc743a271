"""Wipe statements: signed when made, kept until the control plane has recorded them."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

from sealward.enclave_agent.clock import NS_PER_MS, BootClock
from sealward.enclave_agent.identity import InstanceKeys
from sealward.enclave_agent.models import Wiped
from sealward.protos.wipe import WipeCause, WipedItem, WipeStatement
from sealward.telemetry import get_logger

MAX_WAITING: Final = 256  # an outage in which more leases than this end is told by the log alone
MAX_REFUSED: Final = 3  # streams that end over one statement; no statement may keep an agent away
_MAX_ITEMS: Final = 64  # of any list in a statement (sealward.verifier.wire.statement)

_log = get_logger(__name__)


class StatementDesk:
    """Makes statements, and remembers which ones nobody has confirmed yet."""

    def __init__(self, keys: InstanceKeys, clock: BootClock) -> None:
        self._keys: Final = keys
        self._clock: Final = clock
        self._waiting: dict[bytes, bytes] = {}
        self._refused: Counter[bytes] = Counter()
        self._changed = asyncio.Event()

    def state(
        self,
        cause: WipeCause,
        leases: tuple[bytes, ...],
        wiped: Wiped,
        *,
        sequence: int | None,
        since_ns: int,
    ) -> tuple[bytes, ...]:
        """Sign what was wiped and queue it; more than 64 leases or items make several statements.

        Args:
            cause: why.
            leases: ids of the leases that ended.
            wiped: what was done.
            sequence: of the terms that ended them, or None.
            since_ns: boot-time instant at which the cause reached this agent.
        """
        elapsed_ms = max(0, self._clock() - since_ns) // NS_PER_MS
        signed = tuple(
            WipeStatement(
                node=self._keys.node,
                sequence=sequence,
                cause=cause,
                leases=some,
                items=items,
                elapsed_ms=elapsed_ms,
                unknown=wiped.unknown[:_MAX_ITEMS],
            ).sign(self._keys.signing_public, self._keys.sign)
            for some, items in _pages(leases, wiped)
        )
        for statement in signed:
            self._waiting[hashlib.sha256(statement).digest()] = statement
        while len(self._waiting) > MAX_WAITING:
            oldest = next(iter(self._waiting))
            self.recorded(oldest)
            _log.error("wipe statement given up: too many wait", sha256=oldest.hex())
        self._changed.set()
        return signed

    def waiting(self) -> tuple[bytes, ...]:
        """Return the statements that are not recorded yet, oldest first."""
        return tuple(self._waiting.values())

    def recorded(self, digest: bytes) -> bool:
        """Drop the statement with this SHA-256; say whether there was one."""
        self._refused.pop(digest, None)
        return self._waiting.pop(digest, None) is not None

    def refused(self, statement: bytes) -> None:
        """Take note that the control plane ended a stream when it was told this.

        It is told again, in case the reason was another one, and at last given up: the log has it.
        """
        digest = hashlib.sha256(statement).digest()
        self._refused[digest] += 1
        if self._refused[digest] >= MAX_REFUSED and self.recorded(digest):
            _log.error("wipe statement given up: the control plane refuses it", sha256=digest.hex())

    async def changed(self) -> None:
        """Return when a statement was added since the last call."""
        await self._changed.wait()
        self._changed.clear()


def _pages(
    leases: tuple[bytes, ...], wiped: Wiped
) -> Iterator[tuple[tuple[bytes, ...], tuple[WipedItem, ...]]]:
    for start in range(0, max(len(leases), len(wiped.items)), _MAX_ITEMS):
        end = start + _MAX_ITEMS
        yield leases[start:end] or leases[:1], wiped.items[start:end]
