"""Damaged copies of valid bytes: many, cheap, and the same ones for the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

_BLOCK: Final = 1 << 16  # bytes of the stream made at a time
_MOST_AT_ONCE: Final = 4  # damages to one copy
_LONGEST_PIECE: Final = 64
# Lengths, counts and versions are what parsers trip over: ends of ranges, in one to eight bytes.
_EDGES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_MARKS: Final = b"\x00\xff\x7f\x80\x30\x31\x04\x02\xa0\xbf\x9f\xf6\xc0\"'<>&;:,{}[]\\-0123456789eE"


class Stream:
    """Numbers that look random and follow from a seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._made = 0
        self._block = b""
        self._at = 0

    def below(self, end: int) -> int:
        """Return a number from 0 to `end` - 1; the bias of the remainder does not matter here."""
        if self._at + 4 > len(self._block):
            self._made += 1
            name = self._seed + self._made.to_bytes(8, "big")
            self._block, self._at = hashlib.shake_128(name).digest(_BLOCK), 0
        number = int.from_bytes(self._block[self._at : self._at + 4], "big")
        self._at += 4
        return number % end

    def octets(self, size: int) -> bytes:
        """Return bytes."""
        return bytes(self.below(256) for _ in range(size))


def _flip(data: bytearray, _: Sequence[bytes], stream: Stream) -> None:
    data[stream.below(len(data))] ^= 1 << stream.below(8)


def _mark(data: bytearray, _: Sequence[bytes], stream: Stream) -> None:
    data[stream.below(len(data))] = _MARKS[stream.below(len(_MARKS))]


def _edge(data: bytearray, _: Sequence[bytes], stream: Stream) -> None:
    """Write an edge of a range, or the length of the whole, over a number."""
    size = (1, 2, 3, 4, 8)[stream.below(5)]
    edges = (*_EDGES, len(data), len(data) + 1)
    number = edges[stream.below(len(edges))] % (1 << 8 * size)
    at = stream.below(len(data))
    data[at : at + size] = number.to_bytes(size, ("big", "little")[stream.below(2)])


def _delete(data: bytearray, _: Sequence[bytes], stream: Stream) -> None:
    at = stream.below(len(data))
    del data[at : at + 1 + stream.below(_LONGEST_PIECE)]


def _insert(data: bytearray, _: Sequence[bytes], stream: Stream) -> None:
    at = stream.below(len(data) + 1)
    data[at:at] = stream.octets(1 + stream.below(8))


def _repeat(data: bytearray, _: Sequence[bytes], stream: Stream) -> None:
    at = stream.below(len(data))
    piece = data[at : at + 1 + stream.below(_LONGEST_PIECE)]
    data[at:at] = piece * (1 + stream.below(3))


def _cut(data: bytearray, _: Sequence[bytes], stream: Stream) -> None:
    del data[stream.below(len(data)) :]


def _splice(data: bytearray, corpus: Sequence[bytes], stream: Stream) -> None:
    """Go on as another one does, from the same place or from any."""
    other = corpus[stream.below(len(corpus))]
    at = stream.below(len(data))
    there = at if stream.below(2) else stream.below(len(other) + 1)
    data[at:] = other[there:]


_Damage = Callable[[bytearray, Sequence[bytes], Stream], None]
_DAMAGES: Final[tuple[_Damage, ...]] = (
    *(_flip, _flip, _mark, _mark, _edge, _edge),
    *(_delete, _insert, _repeat, _cut, _splice),
)


def mutations(corpus: Sequence[bytes], count: int, *, seed: str) -> Iterator[bytes]:
    """Yield `count` damaged copies of members of `corpus`."""
    stream = Stream(seed)
    for _ in range(count):
        data = bytearray(corpus[stream.below(len(corpus))])
        for _ in range(1 + stream.below(_MOST_AT_ONCE)):
            if data:
                _DAMAGES[stream.below(len(_DAMAGES))](data, corpus, stream)
        yield bytes(data)
