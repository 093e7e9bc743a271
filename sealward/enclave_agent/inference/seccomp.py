"""System-call filters of the model worker, as classic BPF (Linux seccomp(2)).

A deny-list, not an allow-list: what Python, glibc and onnxruntime call differs between their
versions, and a missing entry would kill a worker in the field. What is denied is everything that
reaches outside the process: sockets, files by path, other processes, namespaces, and the
interfaces that do such things by other names (io_uring, bpf, userfaultfd, ...).

Numbers are those of asm/unistd_64.h (x86-64) and asm-generic/unistd.h (arm64). The kernel's layout
of `struct seccomp_data` puts the call number at 0, the architecture at 4, argument 0 at 16.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_LD_W_ABS: Final = 0x20
_JEQ: Final = 0x15
_JGE: Final = 0x35
_JSET: Final = 0x45
_RET: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_KILL_PROCESS: Final = 0x80000000
_AT_NUMBER: Final = 0
_AT_ARCHITECTURE: Final = 4
_AT_ARGUMENT_0: Final = 16
_CLONE_THREAD: Final = 0x00010000
_X32_BIT: Final = 0x40000000  # the x32 ABI on x86-64 repeats every call under another number
_SET_MODE_FILTER: Final = 1
_FLAG_TSYNC: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Abi:
    """What differs between architectures.

    Attributes:
        audit: AUDIT_ARCH_* value (linux/audit.h).
        seccomp, clone, clone3: numbers of these three calls.
        outside: calls that reach the network, other processes or kernel surfaces.
        paths: calls that open or change files by name.
    """

    audit: int
    seccomp: int
    clone: int
    clone3: int
    outside: tuple[int, ...]
    paths: tuple[int, ...]


# fmt: off
_X86_64: Final = Abi(
    audit=0xC000003E, seccomp=317, clone=56, clone3=435,
    outside=(
        41, 42, 43, 49, 50, 53, 288,      # socket connect accept bind listen socketpair accept4
        57, 58, 59, 322,                  # fork vfork execve execveat
        62, 200, 234, 129, 424,           # kill tkill tgkill rt_sigqueueinfo pidfd_send_signal
        101, 310, 311, 312, 434, 438,     # ptrace process_vm_* kcmp pidfd_open pidfd_getfd
        29, 64, 68, 240,                  # shmget semget msgget mq_open
        248, 249, 250,                    # add_key request_key keyctl
        272, 308,                         # unshare setns
        298, 321, 323, 425,               # perf_event_open bpf userfaultfd io_uring_setup
    ),
    paths=(
        2, 85, 257, 437, 304,             # open creat openat openat2 open_by_handle_at
        76, 82, 264, 316,                 # truncate rename renameat renameat2
        83, 258, 84, 87, 263,             # mkdir mkdirat rmdir unlink unlinkat
        86, 265, 88, 266, 133, 259,       # link linkat symlink symlinkat mknod mknodat
        90, 268, 452, 92, 94, 260,        # chmod fchmodat fchmodat2 chown lchown fchownat
    ),
)
_ARM64: Final = Abi(
    audit=0xC00000B7, seccomp=277, clone=220, clone3=435,
    outside=(
        198, 199, 200, 201, 202, 203, 242,  # socket socketpair bind listen accept connect accept4
        221, 281,                         # execve execveat
        129, 130, 131, 138, 424,          # kill tkill tgkill rt_sigqueueinfo pidfd_send_signal
        117, 270, 271, 272, 434, 438,     # ptrace process_vm_* kcmp pidfd_open pidfd_getfd
        180, 186, 190, 194,               # mq_open msgget semget shmget
        217, 218, 219,                    # add_key request_key keyctl
        97, 268,                          # unshare setns
        241, 280, 282, 425,               # perf_event_open bpf userfaultfd io_uring_setup
    ),
    paths=(
        56, 437, 265,                     # openat openat2 open_by_handle_at
        45, 38, 276,                      # truncate renameat renameat2
        34, 35, 37, 36, 33,               # mkdirat unlinkat linkat symlinkat mknodat
        53, 452, 54,                      # fchmodat fchmodat2 fchownat
    ),
)
# fmt: on
ABIS: Final = MappingProxyType({"x86_64": _X86_64, "aarch64": _ARM64})


def deny_outside(abi: Abi) -> bytes:
    """Return a program that denies sockets, processes, signals, namespaces and odd interfaces.

    Threads stay possible: `clone` passes only with CLONE_THREAD, and `clone3`, whose flags lie in
    memory that a filter cannot read, answers ENOSYS, upon which glibc falls back to `clone`.
    """
    return b"".join(
        (
            *_prologue(abi),
            *(_deny(number, errno.EACCES) for number in abi.outside),
            _deny(abi.clone3, errno.ENOSYS),
            _instruction(_JEQ, abi.clone, 0, 3),
            _instruction(_LD_W_ABS, _AT_ARGUMENT_0),
            _instruction(_JSET, _CLONE_THREAD, 1, 0),
            _instruction(_RET, _ERRNO | errno.EACCES),
            _instruction(_RET, _ALLOW),
        )
    )


def deny_paths(abi: Abi) -> bytes:
    """Return a program that denies opening or changing any file by name."""
    return b"".join(
        (
            *_prologue(abi),
            *(_deny(number, errno.EACCES) for number in abi.paths),
            _instruction(_RET, _ALLOW),
        )
    )


def install(program: bytes, abi: Abi) -> None:
    """Put `program` on every thread of this process, for ever. Needs no_new_privs.

    Raises:
        OSError: the kernel has no seccomp filters or refused this one.
    """
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog {unsigned short len; struct sock_filter *filter;} in native alignment.
    header = ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // _INSTRUCTION.size, ctypes.addressof(code))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(abi.seccomp, _SET_MODE_FILTER, _FLAG_TSYNC, header) != 0:
        raise OSError(ctypes.get_errno(), "seccomp filter refused by the kernel")


_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter {code, jt, jf, k}


def _instruction(code: int, operand: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, jump_true, jump_false, operand)


def _prologue(abi: Abi) -> tuple[bytes, ...]:
    # Another architecture's numbers mean other calls: never interpret them.
    return (
        _instruction(_LD_W_ABS, _AT_ARCHITECTURE),
        _instruction(_JEQ, abi.audit, 1, 0),
        _instruction(_RET, _KILL_PROCESS),
        _instruction(_LD_W_ABS, _AT_NUMBER),
        _instruction(_JGE, _X32_BIT, 0, 1),
        _instruction(_RET, _KILL_PROCESS),
    )


def _deny(number: int, error: int) -> bytes:
    return _instruction(_JEQ, number, 0, 1) + _instruction(_RET, _ERRNO | error)
