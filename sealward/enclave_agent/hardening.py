"""What the agent's own process takes from itself at start, and a truthful account of it.

The keys are in this process, so it must not be dumped, traced or swapped out. Unlike the workers'
confinement (inference/isolation.py) these measures are best effort: a container may forbid them,
and then the status says so. The real control is a confidential VM without swap.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

# linux/prctl.h, asm-generic/mman.h
_PR_SET_DUMPABLE: Final = 4
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4


@unique
class Measure(StrEnum):
    """One measure."""

    NO_CORE_DUMP = "no_core_dump"
    NOT_DUMPABLE = "not_dumpable"  # no ptrace and no /proc/PID/mem for others of the same user
    MEMORY_LOCKED = "memory_locked"


@dataclass(frozen=True, slots=True)
class Applied:
    """Whether a measure holds; `why_not` is empty when it does."""

    measure: Measure
    why_not: str = ""


def harden() -> tuple[Applied, ...]:
    """Apply every measure to this process; return how it went."""
    steps: tuple[tuple[Measure, Callable[[], None]], ...] = (
        (Measure.NO_CORE_DUMP, lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))),
        (Measure.NOT_DUMPABLE, _not_dumpable),
        (Measure.MEMORY_LOCKED, _lock_memory),
    )
    return tuple(_apply(measure, step) for measure, step in steps)


def _apply(measure: Measure, step: Callable[[], None]) -> Applied:
    try:
        step()
    except (OSError, ValueError) as error:
        return Applied(measure, str(error))
    return Applied(measure)


def _not_dumpable() -> None:
    _call("prctl", ctypes.c_int(_PR_SET_DUMPABLE), *(ctypes.c_ulong(0),) * 4)


def _lock_memory() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:
        # Locking future memory under a small limit would make later allocations fail.
        raise OSError("RLIMIT_MEMLOCK is limited; set LimitMEMLOCK=infinity for the agent")
    _call("mlockall", ctypes.c_int(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT))


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
