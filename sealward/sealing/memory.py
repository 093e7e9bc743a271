"""Wiping secrets, as far as CPython lets us.

What this reaches: `bytearray` and other writable buffers that hold a key or plaintext, and the
immutable `bytes` object in which the HPKE binding hands a secret out (overwritten in place).

What nothing here reaches: the key schedule inside an `AESGCM` object (OpenSSL cleanses it when the
last reference is dropped), copies that a callee made of its argument, registers, and pages that the
kernel wrote elsewhere before the wipe. A process that must promise more holds keys alone, without
swap and core dumps, and ends.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_MIN_OWNED: Final = 2  # CPython shares bytes objects of length 0 and 1 between all users


def wipe(buffer: bytearray | memoryview) -> None:
    """Overwrite a writable, contiguous buffer with zeros; the length stays."""
    with memoryview(buffer) as view, view.cast("B") as flat:
        if flat.nbytes:
            ctypes.memset((ctypes.c_char * flat.nbytes).from_buffer(flat), 0, flat.nbytes)


def take_secret(secret: bytes) -> bytearray:
    """Move a freshly made secret to a buffer that can be wiped, and overwrite the original.

    Only for bytes that nobody else refers to: the object is changed in place. Outside CPython,
    whose layout this relies on, the original is left to the garbage collector.
    """
    taken = bytearray(secret)
    if sys.implementation.name == "cpython" and len(secret) >= _MIN_OWNED:
        # The characters of a bytes object end one NUL byte before the end of the object.
        ctypes.memset(id(secret) + bytes.__basicsize__ - 1, 0, len(secret))
    return taken
