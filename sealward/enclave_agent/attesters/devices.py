"""The character devices of this machine's TEE, as far as an attester needs them: one ioctl."""

from __future__ import annotations

import ctypes
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ_WRITE: Final = 3  # _IOC_READ | _IOC_WRITE (asm-generic/ioctl.h; x86 and arm64)


class Device(Protocol):
    """A device node; both methods raise OSError as the kernel would."""

    @property
    def path(self) -> str:
        """Where it is."""
        ...

    def check(self) -> None:
        """Open it for reading and writing, and close it."""
        ...

    def ioctl(self, number: int, argument: bytearray) -> None:
        """Make one ioctl; the kernel reads and may change `argument` in place, failing or not."""
        ...


class CharacterDevice:
    """A device node of this machine, opened anew for every use."""

    def __init__(self, path: str) -> None:
        self.path: Final = path

    def check(self) -> None:
        """Open and close."""
        with self._open():
            pass

    def ioctl(self, number: int, argument: bytearray) -> None:
        """Open, call and close."""
        with self._open() as descriptor:
            fcntl.ioctl(descriptor, number, argument, True)  # noqa: FBT003 - positional only: write changes back

    @contextmanager
    def _open(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class Buffer:
    """Memory at a fixed address, for structures that point to others.

    Attributes:
        address: where it is, as the kernel sees it.
        size: bytes.
    """

    def __init__(self, content: bytes) -> None:
        self._memory: Final = ctypes.create_string_buffer(content, len(content))
        self.address: Final = ctypes.addressof(self._memory)
        self.size: Final = len(content)

    def content(self) -> bytes:
        """Return what is in it now."""
        return self._memory.raw


def iowr(kind: int, number: int, size: int) -> int:
    """Return the number of an ioctl that reads and writes a structure of `size` bytes."""
    return _READ_WRITE << 30 | size << 16 | kind << 8 | number
