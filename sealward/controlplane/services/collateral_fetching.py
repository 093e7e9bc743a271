"""Fetching collateral in the background: once for each key, within budgets, never insistently.

Requests come from decisions, which never wait for an answer: they put a key into a queue and say so
to the node. One thread takes keys out and asks the vendor; what comes back is verified as any
import is. A queue and a memory of failures are all the state, and losing both loses nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from sealward.controlplane.domain.collateral import takes_away
from sealward.controlplane.domain.collateral_pacing import NO_FAILURE, Failures
from sealward.controlplane.domain.errors import DomainError
from sealward.controlplane.services.allowance import Allowance
from sealward.controlplane.services.collateral import CollateralStore, Outcome, current_pieces
from sealward.controlplane.services.collateral_desk import Answer, Lane
from sealward.controlplane.services.collateral_view import MATCH_KIND
from sealward.controlplane.services.ports import Database
from sealward.verifier.rats.collateral import Key, Kind

MAX_QUEUE: Final = 1024  # keys that wait; each is some 200 bytes
MOST_OF_ONE: Final = 16  # requests an hour that one node or one chip may cause; each needs a few
_HOUR_S: Final = 3600
_MAX_FAILURES: Final = 4096
_REFRESH_EVERY_NS: Final = 60 * 10**9
# The others' dates are years, and there may be one for each machine.
_REFRESHED: Final = tuple(kind for kind in Kind if takes_away(kind))

_log = structlog.get_logger(__name__)


class FetchFailed(Exception):
    """A vendor's service did not give a piece; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a service answered: a file, and the PEM chain that came in a header, or empty."""

    data: bytes = field(repr=False)
    issuers: bytes = field(default=b"", repr=False)


class Remote(Protocol):
    """Vendors' services."""

    def publishes(self, key: Key) -> bool:
        """Whether a service is configured that publishes such a piece."""

    def fetch(self, key: Key) -> Fetched:
        """Return a piece; bounded in size and time.

        Raises:
            FetchFailed: it was not given.
        """


class Fetching:
    """services.collateral_desk.Fetcher with one worker."""

    def __init__(
        self,
        *,
        store: CollateralStore,
        remote: Remote,
        budgets: Mapping[Lane, int],
        jitter: Callable[[], float],
    ) -> None:
        """Make one for a process.

        Args:
            store: accepts what was fetched.
            remote: asked for it.
            budgets: requests an hour in each lane, for each tenant; at least 1.
            jitter: 0 to 1.
        """
        self.asked: Final = threading.Event()
        self._store = store
        self._remote = remote
        self._jitter = jitter
        self._clock = store.on.clock
        self._tenant = store.on.tenant
        self._budgets = {
            lane: Allowance(self._clock, burst=most, each_s=_HOUR_S / most)
            for lane, most in budgets.items()
        }
        self._shares = Allowance(self._clock, burst=MOST_OF_ONE, each_s=_HOUR_S / MOST_OF_ONE)
        self._waiting: OrderedDict[Key, None] = OrderedDict()
        self._failures: OrderedDict[Key, Failures] = OrderedDict()
        self._in_flight: Key | None = None
        self._refreshed_ns: int | None = None
        self._lock = threading.Lock()

    def request(self, key: Key, lane: Lane, who: str = "") -> Answer:
        """Ask for a piece, once however many wait for it; no share is counted for ourselves."""
        if not self._remote.publishes(key):
            return Answer.unavailable
        now = self._clock.monotonic_ns()
        with self._lock:
            if key in self._waiting or key == self._in_flight:
                return Answer.coming
            if self._failures.get(key, NO_FAILURE).not_before_ns > now:
                return Answer.backing_off
            full = len(self._waiting) >= MAX_QUEUE
            if full or (who and not self._shares.take(who)):
                return Answer.over_budget
            if not self._budgets[lane].take(self._tenant):
                return Answer.over_budget
            self._waiting[key] = None
        self.asked.set()
        return Answer.coming

    def turn(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Fetch everything that waits, and ask for what is due; return how many pieces came.

        `stopping` is asked before each request, so that a process ends within one of them.
        """
        self._refresh()
        came = 0
        while not stopping() and (key := self._next()) is not None:
            came += self._serve(key)
        return came

    def _next(self) -> Key | None:
        with self._lock:
            if not self._waiting:
                self._in_flight = None
                return None
            self._in_flight, _ = self._waiting.popitem(last=False)
            return self._in_flight

    def _serve(self, key: Key) -> bool:
        try:
            fetched = self._remote.fetch(key)
            results = self._store.take_fetched(key, fetched.data, fetched.issuers)
        except (FetchFailed, DomainError) as error:
            self._failed(key, error)
            return False
        stored = any(result.outcome is Outcome.stored for result in results)
        with self._lock:
            self._failures.pop(key, None)
            self._in_flight = None
            if not stored:
                self._failures[key] = Failures.unchanged(self._clock.monotonic_ns())
        _log.info("collateral fetched", collateral=str(key), new=stored)
        return stored

    def _failed(self, key: Key, error: Exception) -> None:
        with self._lock:
            before = self._failures.pop(key, NO_FAILURE)
            after = before.again(self._clock.monotonic_ns(), self._jitter())
            self._failures[key] = after
            self._in_flight = None
            if len(self._failures) > _MAX_FAILURES:
                self._failures.popitem(last=False)
        _log.warning(
            "collateral not fetched", collateral=str(key), failures=after.count, reason=str(error)
        )

    def _refresh(self) -> None:
        """Ask for every piece past half of its validity that some node's evidence rests on."""
        tick = self._clock.monotonic_ns()
        if self._refreshed_ns is not None and tick - self._refreshed_ns < _REFRESH_EVERY_NS:
            return
        self._refreshed_ns = tick
        database = self._store.on.database
        for kind in _REFRESHED:
            for piece in current_pieces(database, kind):
                if self._clock.now() >= piece.half_life and _is_rested_on(database, piece.key):
                    self.request(piece.key, Lane.renewal)


def _is_rested_on(database: Database, key: Key) -> bool:
    """Whether any node's evidence asked for a piece."""
    found = database.read(lambda tx: tx.evidence.matching(MATCH_KIND, str(key), limit=1))
    return bool(found.items)
