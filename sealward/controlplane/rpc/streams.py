"""The open streams of this process: a bell for each node, rung when there may be something to push.

A bell carries nothing. What is pushed is read from the database, so a bell lost with a replica
costs one polling interval and never a revocation.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from sealward.controlplane.domain.errors import Code, Refused

STREAMS_PER_NODE: Final = 4  # one in use, and a few that a broken network has not ended yet


class StreamBells:
    """Bells by node id. `ring` may be called from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._bells: dict[str, set[asyncio.Event]] = {}

    def hang(self, node_id: str) -> asyncio.Event:
        """Return a new bell for one stream, which clears it and takes it down when it ends.

        Raises:
            Refused: `rate_limited` when the node has as many streams as it may.
        """
        bell = asyncio.Event()
        with self._lock:
            bells = self._bells.setdefault(node_id, set())
            if len(bells) >= STREAMS_PER_NODE:
                raise Refused(Code.rate_limited, "the node has too many streams", "close one")
            bells.add(bell)
        return bell

    def hanging(self, node_id: str) -> bool:
        """Tell whether the node has a stream here."""
        with self._lock:
            return node_id in self._bells

    def take_down(self, node_id: str, bell: asyncio.Event) -> None:
        """Forget a bell."""
        with self._lock:
            bells = self._bells.get(node_id, set())
            bells.discard(bell)
            if not bells:
                self._bells.pop(node_id, None)

    def ring(self, node_id: str) -> None:
        """Wake every stream of one node."""
        with self._lock:
            bells = tuple(self._bells.get(node_id, ()))
        for bell in bells:
            self._loop.call_soon_threadsafe(bell.set)

    def connected(self) -> int:
        """Return how many nodes have a stream here."""
        with self._lock:
            return len(self._bells)
