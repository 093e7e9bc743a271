"""What a policy worker gives up before it reads its first policy (Linux).

Limits on descriptors, processes and files, no new privileges, no core, and a seccomp filter that
leaves computing, memory and the two pipes it was started with: no socket, no file, no process, no
signal to others. Called once, in the worker, after everything is imported, because afterwards
nothing can be opened.
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2

# linux/seccomp.h and linux/bpf_common.h
_RET_ALLOW: Final = 0x7FFF0000
_RET_EPERM: Final = 0x00050001
_RET_KILL_PROCESS: Final = 0x80000000
_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_OFFSET_NR: Final = 0  # struct seccomp_data
_OFFSET_ARCH: Final = 4

# Names only in comments would drift: the table is the list of what a worker may still do.
_SYSCALLS_X86_64: Final = {
    "read": 0, "write": 1, "close": 3, "poll": 7, "mmap": 9, "mprotect": 10, "munmap": 11,
    "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24,
    "mremap": 25, "madvise": 28, "setitimer": 38, "getpid": 39, "exit": 60, "gettimeofday": 96,
    "sigaltstack": 131, "gettid": 186, "futex": 202, "restart_syscall": 219,
    "clock_gettime": 228, "exit_group": 231, "tgkill": 234, "getrandom": 318,
}  # fmt: skip
_SYSCALLS_AARCH64: Final = {
    "read": 63, "write": 64, "close": 57, "ppoll": 73, "mmap": 222, "mprotect": 226,
    "munmap": 215, "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
    "sched_yield": 124, "mremap": 216, "madvise": 233, "setitimer": 103, "getpid": 172,
    "exit": 93, "gettimeofday": 169, "sigaltstack": 132, "gettid": 178, "futex": 98,
    "restart_syscall": 128, "clock_gettime": 113, "exit_group": 94, "tgkill": 131,
    "getrandom": 278,
}  # fmt: skip
_AUDIT_ARCH: Final = {
    "x86_64": (0xC000003E, _SYSCALLS_X86_64),
    "aarch64": (0xC00000B7, _SYSCALLS_AARCH64),
}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jump_true", ctypes.c_ubyte),
        ("jump_false", ctypes.c_ubyte),
        ("operand", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def confine() -> tuple[str, ...]:
    """Enter the sandbox for good and return what could not be applied, empty when all was.

    The caller decides whether anything missing is acceptable; this function never gives up
    half-way, so that even an incomplete sandbox is as tight as this kernel allows.
    """
    missing = [*_limit()]
    libc = ctypes.CDLL(None, use_errno=True)
    for option, name in ((_PR_SET_NO_NEW_PRIVS, "no_new_privs"), (_PR_SET_DUMPABLE, "dumpable")):
        value = 1 if option == _PR_SET_NO_NEW_PRIVS else 0
        if libc.prctl(option, value, 0, 0, 0) != 0:
            missing.append(f"{name}: {os.strerror(ctypes.get_errno())}")
    failure = _filter_syscalls(libc)
    return tuple(missing) if failure is None else (*missing, failure)


def _limit() -> tuple[str, ...]:
    failed = []
    for name, value in (
        ("RLIMIT_NOFILE", 4),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
    ):
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (OSError, ValueError) as error:
            failed.append(f"{name}: {error}")
    return tuple(failed)


def _filter_syscalls(libc: ctypes.CDLL) -> str | None:
    machine = os.uname().machine
    if machine not in _AUDIT_ARCH:
        return f"seccomp: no filter for {machine}"
    arch, syscalls = _AUDIT_ARCH[machine]
    code = _program(arch, tuple(syscalls.values()))
    array = (_Instruction * len(code))(*code)
    program = _Program(len(code), array)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        return f"seccomp: {os.strerror(ctypes.get_errno())}"
    return None


def _program(arch: int, allowed: tuple[int, ...]) -> tuple[_Instruction, ...]:
    """Return the filter: another architecture dies, the table passes, the rest gets EPERM.

    EPERM and not death for the rest: the engine looks for files when it describes an error, and
    must be able to go on without them.
    """
    return (
        _Instruction(_LOAD_WORD, 0, 0, _OFFSET_ARCH),
        _Instruction(_JUMP_IF_EQUAL, 1, 0, arch),
        _Instruction(_RETURN, 0, 0, _RET_KILL_PROCESS),
        _Instruction(_LOAD_WORD, 0, 0, _OFFSET_NR),
        *(
            _Instruction(_JUMP_IF_EQUAL, len(allowed) - at, 0, number)
            for at, number in enumerate(allowed)
        ),
        _Instruction(_RETURN, 0, 0, _RET_EPERM),
        _Instruction(_RETURN, 0, 0, _RET_ALLOW),
    )
