"""Random access to bytes that somebody else has opened: this package opens no path.

A source fills a whole buffer or raises; a short read is never handed on.
"""

from __future__ import annotations

import os
import stat
from typing import Protocol

from sealward.sealing.errors import (
    Code,
    MalformedSealedModel,
    RefusedSealedModel,
    UnsealableModel,
)


class Source(Protocol):
    """Bytes of a known size that can be read from any offset, by several threads at once."""

    @property
    def size(self) -> int:
        """Length in bytes, taken once when the source was made."""
        ...

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill all of `buffer` from `offset`.

        Raises:
            MalformedSealedModel: TRUNCATED, the source ends before the buffer is full.
            RefusedSealedModel: SOURCE_FAILED, the operating system could not read.
        """
        ...


class FileSource:
    """An open regular file, read with pread only, so that its position is nobody's concern.

    The descriptor stays the caller's: it must outlive the source and is not closed here.
    """

    __slots__ = ("_descriptor", "_modified", "_size")

    def __init__(self, descriptor: int) -> None:
        """Take an open descriptor.

        Raises:
            RefusedSealedModel: SOURCE_FAILED, not a readable regular file.
        """
        try:
            status = os.fstat(descriptor)
        except OSError as error:
            raise _failed(error) from None
        if not stat.S_ISREG(status.st_mode):
            raise RefusedSealedModel(Code.SOURCE_FAILED, "not a regular file")
        self._descriptor = descriptor
        self._size = status.st_size
        self._modified = status.st_mtime_ns

    @property
    def size(self) -> int:
        """Length in bytes when the source was made."""
        return self._size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill all of `buffer` from `offset`; see `Source.read_into`."""
        done = 0
        while done < len(buffer):
            try:
                got = os.preadv(self._descriptor, [buffer[done:]], offset + done)
            except OSError as error:
                raise _failed(error) from None
            if got == 0:
                raise MalformedSealedModel(Code.TRUNCATED, f"the file ends at {offset + done}")
            done += got

    def check_unchanged(self) -> None:
        """Refuse a file that was written since the source was made.

        Raises:
            UnsealableModel: SOURCE_CHANGED.
        """
        status = os.fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns) != (self._size, self._modified):
            raise UnsealableModel(Code.SOURCE_CHANGED, "the file was changed while it was read")


class BytesSource:
    """Bytes already in memory."""

    __slots__ = ("_view",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data).cast("B")

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._view)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill all of `buffer` from `offset`; see `Source.read_into`."""
        if offset < 0 or offset + len(buffer) > len(self._view):
            raise MalformedSealedModel(Code.TRUNCATED, f"the data ends at {len(self._view)}")
        buffer[:] = self._view[offset : offset + len(buffer)]


def read(source: Source, offset: int, size: int) -> bytes:
    """Return `size` bytes; the caller has checked `size` against a budget."""
    buffer = bytearray(size)
    source.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def _failed(error: OSError) -> RefusedSealedModel:
    return RefusedSealedModel(Code.SOURCE_FAILED, f"cannot be read: {error.strerror}")
