"""A cursor over untrusted bytes: the one place where outside bytes are sliced.

A Python slice silently returns fewer bytes than asked for; `Reader.take` never does. Every read
names what it reads, so that a refusal says which field was short and where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealward.verifier.rats.errors import MalformedEvidence

if TYPE_CHECKING:
    from struct import Struct


class Reader:
    """Reads forward through `data` and cannot read past its end.

    Every method raises MalformedEvidence, and nothing else, when the bytes do not suffice.
    `base` is where `data` begins in an outer buffer; only the offsets in errors count from it.
    """

    __slots__ = ("_base", "_data", "_end", "_offset")

    def __init__(self, data: bytes, *, base: int = 0) -> None:
        self._data = data
        self._base = base
        self._offset = 0
        self._end = len(data)

    @property
    def offset(self) -> int:
        """Bytes consumed so far."""
        return self._offset

    @property
    def remaining(self) -> int:
        """Bytes not yet consumed."""
        return self._end - self._offset

    def take(self, size: int, what: str) -> bytes:
        """Consume exactly `size` bytes; a slice would silently return fewer."""
        start = self._offset
        stop = start + size
        if size < 0 or stop > self._end:
            raise self.malformed(f"{what}: need {size} bytes, {self.remaining} are left")
        self._offset = stop
        return self._data[start:stop]

    def seek(self, offset: int, what: str) -> None:
        """Move to an absolute `offset` that the format names; the end itself is allowed."""
        if not 0 <= offset <= self._end:
            raise self.malformed(f"{what}: offset {offset} is outside the data")
        self._offset = offset

    def since(self, start: int) -> bytes:
        """Return the bytes from an offset read earlier up to here, as they were."""
        return self._data[start : self._offset]

    def u8(self, what: str) -> int:
        """Consume one byte."""
        at = self._offset
        if at >= self._end:
            raise self.malformed(f"{what}: need 1 byte, 0 are left")
        self._offset = at + 1
        return self._data[at]

    def peek(self) -> int | None:
        """Return the next byte without consuming it, or None at the end."""
        return self._data[self._offset] if self._offset < self._end else None

    def le(self, size: int, what: str) -> int:
        """Consume an unsigned little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size, what), "little")

    def be(self, size: int, what: str) -> int:
        """Consume an unsigned big-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size, what), "big")

    def unpack(self, layout: Struct, what: str) -> tuple[Any, ...]:
        """Consume one fixed layout at once; for formats whose every field has a fixed place."""
        return layout.unpack(self.take(layout.size, what))

    def must_be_zero(self, size: int, what: str) -> None:
        """Reserved ranges are refused, so a newer layout is never half-understood."""
        at = self._offset
        if self.take(size, what).strip(b"\0"):
            raise MalformedEvidence(self._base + at, f"{what}: reserved bytes are not zero")

    def finish(self) -> None:
        """Refuse trailing bytes: one input has exactly one reading."""
        if self._offset != self._end:
            raise self.malformed(f"{self.remaining} trailing bytes")

    def malformed(self, what: str) -> MalformedEvidence:
        """Return the error for something wrong right here."""
        return MalformedEvidence(self._base + self._offset, what)


def check_budget(data: bytes, max_bytes: int, what: str) -> None:
    """Refuse `data` longer than `max_bytes` before anything looks into it."""
    if len(data) > max_bytes:
        raise MalformedEvidence(
            max_bytes, f"{what}: {len(data)} bytes, at most {max_bytes} are read"
        )
