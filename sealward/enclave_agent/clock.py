"""The agent's clocks, and the only place that asks them.

Leases are counted on CLOCK_BOOTTIME: it goes on while the machine is suspended, and nobody inside
the guest can set it. Whether the *host* can is the clock's class, which the control plane derives
from evidence and from the name reported here (security-requirements F4). What the agent can see by
itself is a clock that fails or goes back: then it is in doubt, and in doubt it serves nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

BootClock: TypeAlias = Callable[[], int]
"""Nanoseconds since boot, suspend included; never goes back."""

WallClock: TypeAlias = Callable[[], int]
"""Unix milliseconds as the guest believes them. Only for certificate dates, client tokens and
logs: the host can set it."""

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
UNKNOWN_SOURCE: Final = "unknown"

_CURRENT_SOURCE: Final = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_MAX_NAME: Final = 64  # the field's budget in docs/specs/evidence-binding.md


class ClockInDoubt(Exception):
    """The boot-time clock failed or went back: no horizon can be kept by it, so the agent ends."""


class GuardedClock:
    """A boot-time clock that is believed until it errs once.

    Readings never go back and never fail, as what wipes and states needs some instant; but that the
    clock erred is told before the reading that showed it is returned, so whoever reads it to decide
    about a lease decides in the knowledge. For one event loop: there is no lock.
    """

    def __init__(self, read: BootClock, *, on_doubt: Callable[[str], None]) -> None:
        """Take the clock, and who is told, each time, why it cannot be believed."""
        self._read: Final = read
        self._on_doubt: Final = on_doubt
        self._last_ns = 0

    def __call__(self) -> int:
        """Return nanoseconds since boot, or the last reading when the clock errs."""
        try:
            now_ns = self._read()
        except OSError as error:
            self._on_doubt(f"the boot-time clock cannot be read: {error.strerror}")
            return self._last_ns
        if now_ns < self._last_ns:
            back_ms = -(-(self._last_ns - now_ns) // NS_PER_MS)
            self._on_doubt(f"the boot-time clock went back by {back_ms} ms")
        self._last_ns = max(self._last_ns, now_ns)
        return self._last_ns


def boottime_ns() -> int:
    """Read CLOCK_BOOTTIME."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall_ms() -> int:
    """Read CLOCK_REALTIME, in Unix milliseconds."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME) // NS_PER_MS


def clock_source(path: Path = _CURRENT_SOURCE) -> str:
    """Return the kernel's name of its clock source, or "unknown" when it does not tell one."""
    try:
        name = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return UNKNOWN_SOURCE
    return name if 0 < len(name) <= _MAX_NAME and name.isprintable() else UNKNOWN_SOURCE
