"""When a vendor's service is asked for the same piece again, as a value (F30).

Time is nanoseconds of a clock that never goes back; randomness is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SECOND_NS: Final = 10**9
_FIRST_DELAY_S: Final = 2
_LONGEST_DELAY_S: Final = 3600
_UNCHANGED_S: Final = 3600  # vendors publish daily at most
_DOUBLINGS: Final = 12  # 2 s doubled so often is beyond the longest delay


@dataclass(frozen=True, slots=True)
class Failures:
    """How often a key could not be had, and when it is asked for again."""

    count: int
    not_before_ns: int

    def again(self, now_ns: int, jitter: float) -> Failures:
        """Return the state after one failure more.

        Args:
            now_ns: now.
            jitter: 0 to 1, drawn anew each time: replicas that failed together ask apart.
        """
        delay = min(_LONGEST_DELAY_S, _FIRST_DELAY_S << min(self.count, _DOUBLINGS))
        wait_ns = int(delay * _SECOND_NS * (0.5 + jitter))
        return Failures(self.count + 1, now_ns + wait_ns)

    @classmethod
    def unchanged(cls, now_ns: int) -> Failures:
        """Return the state after the service gave what is held: no failure, and nothing newer."""
        return cls(0, now_ns + _UNCHANGED_S * _SECOND_NS)


NO_FAILURE: Final = Failures(0, 0)
