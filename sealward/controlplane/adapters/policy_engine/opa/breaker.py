"""A circuit breaker: what failed several times in a row is not tried for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError


class Breaker:
    """Counts failures in a row. Thread-safe.

    After the pause it lets callers try again; one further failure opens it anew at once.
    """

    def __init__(
        self, what: str, *, failures: int, pause_seconds: float, monotonic: Callable[[], float]
    ) -> None:
        self._what = what
        self._failures = failures
        self._pause_seconds = pause_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._open_until: float | None = None

    def refuse_open(self) -> None:
        """Return unless it is open.

        Raises:
            PolicyEngineError: BUSY, with when the next try is.
        """
        with self._lock:
            if self._open_until is None:
                return
            left = self._open_until - self._monotonic()
            if left > 0:
                raise PolicyEngineError(
                    EngineFault.BUSY,
                    f"{self._what} {self._in_a_row} times in a row; tried again in {left:.0f} s",
                )
            self._open_until = None

    def succeeded(self) -> None:
        """Forget what went before."""
        with self._lock:
            self._in_a_row = 0

    def failed(self) -> None:
        """Count one failure; it may open."""
        with self._lock:
            self._in_a_row += 1
            if self._in_a_row >= self._failures:
                self._open_until = self._monotonic() + self._pause_seconds
