"""How often somebody may do something: so many at once, refilled at a steady rate (F26, F30).

State of one process, as queues are: several replicas allow several times as much, which is still a
bound.
"""

from __future__ import annotations

import threading
from typing import Final

from sealward.controlplane.services.ports import Clock

_NS: Final = 1_000_000_000
_MOST_REMEMBERED: Final = 4096  # callers; whoever has all of his allowance need not be remembered


class Allowance:
    """A token bucket for each caller. Safe for several threads."""

    def __init__(self, clock: Clock, *, burst: int, each_s: float) -> None:
        """`burst` at once, then one more every `each_s` seconds."""
        self._clock = clock
        self._burst: Final = burst
        self._each_ns: Final = int(each_s * _NS)
        self._lock = threading.Lock()
        self._full_at: dict[str, int] = {}  # when a caller will have all of his allowance again

    def left(self, who: str) -> bool:
        """Whether there is one to take; nothing is used."""
        with self._lock:
            now = self._clock.monotonic_ns()
            full_at = max(now, self._full_at.get(who, now)) + self._each_ns
            return full_at - now <= self._burst * self._each_ns

    def take(self, who: str) -> bool:
        """Use one up; False, and nothing used, where there is none left."""
        with self._lock:
            now = self._clock.monotonic_ns()
            full_at = max(now, self._full_at.get(who, now)) + self._each_ns
            if full_at - now > self._burst * self._each_ns:
                return False
            if len(self._full_at) >= _MOST_REMEMBERED:
                self._full_at = {one: at for one, at in self._full_at.items() if at > now}
            self._full_at[who] = full_at
            return True
