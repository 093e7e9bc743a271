"""Exponential back-off with full jitter: when to try again after a failure or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_FRACTION_BYTES: Final = 4


class Backoff:
    """Delays that double from `first` to `most`, each drawn from its upper half.

    The lower half is left out so that a thousand nodes refused together neither come back
    together nor at once.
    """

    def __init__(self, *, first: float, most: float, random_bytes: Callable[[int], bytes]) -> None:
        """Take the first and the longest delay in seconds."""
        self._first: Final = first
        self._most: Final = most
        self._random_bytes: Final = random_bytes
        self._next = first

    def delay(self, *, at_least: float = 0.0) -> float:
        """Return the seconds to wait now, and wait longer the next time.

        Args:
            at_least: what the other side asked for, seconds; jitter comes on top of it, and it is
                obeyed only up to the longest delay: a wrong answer must not silence a node.
        """
        jitter = self._next / 2 * (1 + fraction(self._random_bytes))
        self._next = min(self._next * 2, self._most)
        if at_least <= 0:
            return jitter
        return min(at_least, self._most) + jitter / 4

    def reset(self) -> None:
        """Begin again: something worked."""
        self._next = self._first


def fraction(random_bytes: Callable[[int], bytes]) -> float:
    """Draw a number from 0 up to 1."""
    drawn = int.from_bytes(random_bytes(_FRACTION_BYTES), "big")
    return drawn / float(1 << (8 * _FRACTION_BYTES))
