"""The agent's clocks, and the only place that asks them.

Leases are counted on CLOCK_BOOTTIME: it goes on while the machine is suspended, and nobody inside
the guest can set it. Whether the *host* can is the clock's class, which the control plane derives
from evidence and from the name reported here (security-requirements F4).
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
