"""Plaintext of a sealed model in memory that the agent shares with one worker and can take back.

Each part is a memfd. The agent maps it writable *before* sealing it, then forbids resizing and any
further writable mapping. So the worker that inherits the descriptor

- cannot write: the weights that run are the weights that were opened;
- cannot shrink the file, which would make the agent's wipe die of SIGBUS;
- keeps reading the very pages that the agent's `wipe` zeroes, even when it hangs.

The price of the write seal: the kernel refuses to punch holes in such a file (and MADV_DONTNEED
on a shared mapping drops only page-table entries), so zeroed pages go back to the kernel when the
last mapping goes, which is when the worker is reaped.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
from typing import Final, Self

# Linux uapi fcntl.h; Python 3.11 names the command but not F_SEAL_FUTURE_WRITE (Linux 5.1).
_F_SEAL_SEAL: Final = 0x01
_F_SEAL_SHRINK: Final = 0x02
_F_SEAL_GROW: Final = 0x04
_F_SEAL_FUTURE_WRITE: Final = 0x10
_SEALS: Final = _F_SEAL_SEAL | _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_FUTURE_WRITE


class SharedPlaintext:
    """`length` bytes of plaintext: writable here, read-only in the worker, gone after `wipe`.

    Attributes:
        length: bytes of plaintext; at least 1.
        fd: the memfd, for `pass_fds`; -1 once closed.
        locked: whether mlock held the pages in RAM. Best effort: it needs RLIMIT_MEMLOCK.
    """

    def __init__(self, label: str, length: int) -> None:
        """Map `length` zero bytes. `label` is seen in /proc/PID/maps: give no model name.

        Raises:
            ValueError: `length` is not positive; a mapping of nothing does not exist.
            OSError: the kernel refused memory or the seals.
        """
        if length < 1:
            raise ValueError(f"{label}: {length} bytes cannot be mapped")
        self.length: Final = length
        self.fd = os.memfd_create(label, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, length)
            self._map = mmap.mmap(self.fd, length)
            self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
            self._map.madvise(mmap.MADV_DONTDUMP)
            self._map.madvise(mmap.MADV_DONTFORK)
        except BaseException:
            os.close(self.fd)
            raise
        libc = ctypes.CDLL(None, use_errno=True)
        self.locked: Final = (
            libc.mlock(ctypes.c_void_p(self._address), ctypes.c_size_t(length)) == 0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()
        self.close()

    def view(self) -> memoryview:
        """Return the writable plaintext. Release it (`with`) or `close` fails."""
        return memoryview(self._map)

    def read(self, max_bytes: int) -> bytes:
        """Return a copy of the whole, for parts that hold no secret.

        Raises:
            ValueError: the part is longer than `max_bytes`.
        """
        if self.length > max_bytes:
            raise ValueError(f"{self.length} bytes, at most {max_bytes} are read")
        return self._map[:]

    def wipe(self) -> int:
        """Zero every byte in place, for every process that maps it; return how many.

        Idempotent. After `close` there is nothing left to wipe and the answer is 0.
        """
        if self.fd < 0:
            return 0
        # memset and not slice assignment: no second buffer of zeros as long as the weights.
        ctypes.memset(self._address, 0, self.length)
        return self.length

    def close(self) -> None:
        """Unmap and close. Idempotent. Call `wipe` first: the worker's mapping outlives ours."""
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        self._map.close()
