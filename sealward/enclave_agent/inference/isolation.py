"""What a worker process takes from itself before it touches a model.

All measures are mandatory: a kernel that refuses one makes the worker refuse to start, with the
measure's name, because a model that runs less confined than the documentation says is worse than
one that does not run. The list of what was applied goes to the agent with the load answer.

The order matters. `confine` runs before anything is imported that could start threads or open
sockets; `forbid_files` runs after the imports and before the first byte of a model is parsed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.inference import seccomp

if TYPE_CHECKING:
    from collections.abc import Callable

# linux/prctl.h, linux/capability.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522

# malloc.h (glibc): freed blocks are overwritten, big ones go back to the kernel at once. Off glibc
# mallopt does not exist or answers 0, and the worker says so instead of stopping: the copies that
# onnxruntime makes while it loads then live in freed heap until the process is killed.
_M_MMAP_THRESHOLD: Final = -3
_M_PERTURB: Final = -6
_PERTURB_BYTE: Final = 0xA5
_MMAP_THRESHOLD: Final = 64 * 1024


@unique
class Measure(StrEnum):
    """One thing that was applied and cannot be undone by the process."""

    DIES_WITH_AGENT = "dies_with_agent"
    NO_CORE_DUMP = "no_core_dump"
    NOT_DUMPABLE = "not_dumpable"
    NO_NEW_PRIVILEGES = "no_new_privileges"
    NO_CAPABILITIES = "no_capabilities"
    NO_SOCKETS_OR_PROCESSES = "no_sockets_or_processes"
    NO_FILES = "no_files"
    HEAP_OVERWRITTEN = "heap_overwritten_while_loading"


class IsolationRefused(Exception):
    """The kernel refused a measure.

    Attributes:
        measure: which one.
    """

    def __init__(self, measure: Measure, cause: str) -> None:
        self.measure: Final = measure
        super().__init__(
            f"worker isolation: {measure} was refused by this kernel ({cause}); "
            "run the agent on Linux 5.3 or later with seccomp, on x86-64 or arm64"
        )


def confine(agent_pid: int) -> tuple[Measure, ...]:
    """Apply everything that may come before imports; return what was applied.

    Args:
        agent_pid: who must be our parent; a worker orphaned during its start stops here.

    Raises:
        IsolationRefused: a measure was refused.
    """
    steps: tuple[tuple[Measure, Callable[[], None]], ...] = (
        (Measure.DIES_WITH_AGENT, lambda: _die_with(agent_pid)),
        (Measure.NO_CORE_DUMP, lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))),
        (Measure.NOT_DUMPABLE, lambda: _prctl(_PR_SET_DUMPABLE, 0)),
        (Measure.NO_NEW_PRIVILEGES, lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        (Measure.NO_CAPABILITIES, _drop_capabilities),
        (Measure.NO_SOCKETS_OR_PROCESSES, lambda: _filter(seccomp.deny_outside)),
    )
    return tuple(_applied(measure, step) for measure, step in steps)


def forbid_files() -> Measure:
    """Forbid opening or changing any file by name, on all threads.

    A model that names external data ("../../etc/shadow") then fails to load whatever parses it.

    Raises:
        IsolationRefused: the filter was refused.
    """
    return _applied(Measure.NO_FILES, lambda: _filter(seccomp.deny_paths))


def limit_private_memory(max_bytes: int) -> None:
    """Bound heap and private mappings (RLIMIT_DATA), so a hostile graph cannot exhaust the node.

    Raises:
        OSError, ValueError: the limit was refused.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (max_bytes, max_bytes))


def overwrite_freed_heap(*, on: bool) -> bool:
    """Make glibc overwrite freed blocks (`on`) or stop doing so; return whether it obeyed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_PERTURB, _PERTURB_BYTE if on else 0)) and bool(
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
    )


def _applied(measure: Measure, step: Callable[[], None]) -> Measure:
    try:
        step()
    except (OSError, ValueError) as error:
        raise IsolationRefused(measure, str(error)) from error
    return measure


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _die_with(agent_pid: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != agent_pid:  # it died before the line above took effect
        raise OSError(f"parent is {os.getppid()}, not the agent {agent_pid}")


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: low and high words
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _filter(program: Callable[[seccomp.Abi], bytes]) -> None:
    abi = seccomp.ABIS.get(platform.machine())
    if abi is None:
        raise OSError(f"no filter is written for {platform.machine()}")
    seccomp.install(program(abi), abi)
