"""How much of a deadline is left, over several requests."""

from __future__ import annotations

from collections.abc import Callable

from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError


class Deadline:
    """An instant on the monotonic clock."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._at = monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, more than none.

        Raises:
            PolicyEngineError: TIMEOUT, nothing is left.
        """
        left = self._at - self._monotonic()
        if left <= 0:
            raise PolicyEngineError(EngineFault.TIMEOUT, "no answer of OPA within the deadline")
        return left
