"""A strict reader of DER (X.690), enough for X.509 certificates.

Definite and minimal lengths, minimal integers and object identifiers, one-byte tags, TRUE as FF,
Zulu times to the second, nothing trailing inside any structure. Reading is driven by the schema of
the caller, and nesting has a budget besides, so hostile input cannot make it recurse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

MAX_DEPTH: Final = 12  # a certificate needs 6; the rest is for extensions that hold structures

_LONG_FORM: Final = 0x80
_MAX_LENGTH_BYTES: Final = 4  # no object of ours reaches 4 GiB
_HIGH_TAG_NUMBER: Final = 0x1F
_CONSTRUCTED: Final = 0x20
_UTC_TIME_SIZE: Final = 13  # YYMMDDHHMMSSZ, RFC 5280 section 4.1.2.5.1
_GENERALIZED_TIME_SIZE: Final = 15  # YYYYMMDDHHMMSSZ
_MOST_UNUSED_BITS: Final = 7
_UTC_PIVOT: Final = 50  # RFC 5280: 50..99 mean 19xx


@dataclass(frozen=True, slots=True)
class Element:
    """One tag-length-value.

    Attributes:
        tag: the identifier octet.
        content: the value's octets.
        der: the whole element as it was read.
        offset: where the element starts in the outermost buffer.
        inside: where its content starts.
    """

    tag: int
    content: bytes = field(repr=False)
    der: bytes = field(repr=False)
    offset: int
    inside: int


class DerReader:
    """Reads the elements of one structure in order; every method raises only MalformedEvidence."""

    __slots__ = ("_base", "_depth", "_reader")

    def __init__(self, data: bytes, *, base: int = 0, depth: int = MAX_DEPTH) -> None:
        self._reader = Reader(data, base=base)
        self._base = base
        self._depth = depth

    @property
    def offset(self) -> int:
        """Position in the outermost buffer."""
        return self._base + self._reader.offset

    @property
    def empty(self) -> bool:
        """Whether every element has been read."""
        return self._reader.remaining == 0

    def next_is(self, tag: int) -> bool:
        """Whether another element follows and has this tag (for OPTIONAL fields)."""
        return self._reader.peek() == tag

    def element(self, what: str, tag: int | None = None) -> Element:
        """Read one element, of `tag` when given."""
        at = self._reader.offset
        found = self._reader.u8(what)
        if found & _HIGH_TAG_NUMBER == _HIGH_TAG_NUMBER:
            raise MalformedEvidence(self._base + at, f"{what}: multi-byte DER tag")
        if tag is not None and found != tag:
            raise MalformedEvidence(
                self._base + at, f"{what}: DER tag {found:#04x}, expected {tag:#04x}"
            )
        size = self._length(what)
        inside = self.offset
        content = self._reader.take(size, what)
        return Element(found, content, self._reader.since(at), self._base + at, inside)

    def opaque(self, what: str, tag: int | None = None) -> Element:
        """Read one element that is kept as bytes; what it is made of must be DER all the same."""
        element = self.element(what, tag)
        if element.tag & _CONSTRUCTED:
            inside = self.into(element, what)
            while not inside.empty:
                inside.opaque(what)
        return element

    def enter(self, what: str, tag: int = SEQUENCE) -> DerReader:
        """Read one constructed element and return a reader of what is in it."""
        return self.into(self.element(what, tag), what)

    def into(self, element: Element, what: str) -> DerReader:
        """Return a reader of the inside of an element read earlier."""
        if self._depth == 0:
            raise MalformedEvidence(element.offset, f"{what}: DER nested too deeply")
        return DerReader(element.content, base=element.inside, depth=self._depth - 1)

    def integer(self, what: str, *, max_bytes: int) -> int:
        """Read a signed INTEGER of at most `max_bytes` content bytes."""
        element = self.element(what, INTEGER)
        content = element.content
        if not 1 <= len(content) <= max_bytes:
            raise MalformedEvidence(element.offset, f"{what}: INTEGER of {len(content)} bytes")
        value = int.from_bytes(content, "big", signed=True)
        if len(content) != _integer_size(value):
            raise MalformedEvidence(element.offset, f"{what}: INTEGER is not minimal")
        return value

    def boolean(self, what: str) -> bool:
        """Read a BOOLEAN."""
        element = self.element(what, BOOLEAN)
        if element.content not in (b"\x00", b"\xff"):
            raise MalformedEvidence(element.offset, f"{what}: BOOLEAN is neither 00 nor FF")
        return element.content == b"\xff"

    def oid(self, what: str) -> str:
        """Read an OBJECT IDENTIFIER as dotted decimal."""
        element = self.element(what, OBJECT_IDENTIFIER)
        return _dotted(element, what)

    def bits(self, what: str) -> bytes:
        """Read a BIT STRING that is whole bytes."""
        element = self.element(what, BIT_STRING)
        if element.content[:1] != b"\x00":
            raise MalformedEvidence(element.offset, f"{what}: BIT STRING is not whole bytes")
        return element.content[1:]

    def named_bits(self, what: str) -> frozenset[int]:
        """Read a BIT STRING of named flags as the numbers of those set.

        X.690 11.2.2 wants trailing zero bits dropped; AMD's intermediates keep them, so that alone
        is not checked. Bits declared unused must be zero.
        """
        element = self.element(what, BIT_STRING)
        unused, octets = element.content[:1], element.content[1:]
        if not octets or unused[0] > _trailing_zeros(octets[-1]) or unused[0] > _MOST_UNUSED_BITS:
            raise MalformedEvidence(element.offset, f"{what}: not a BIT STRING of flags")
        return frozenset(
            8 * index + bit
            for index, octet in enumerate(octets)
            for bit in range(8)
            if octet & 0x80 >> bit
        )

    def ia5(self, what: str) -> str:
        """Read an IA5String: ASCII text."""
        element = self.element(what, IA5_STRING)
        if not element.content.isascii():
            raise MalformedEvidence(element.offset, f"{what}: IA5String is not ASCII")
        return element.content.decode("ascii")

    def time(self, what: str) -> datetime:
        """Read a UTCTime or GeneralizedTime to the second, Zulu (RFC 5280 4.1.2.5)."""
        element = self.element(what)
        text = element.content
        if element.tag == UTC_TIME and len(text) == _UTC_TIME_SIZE and text[:2].isdigit():
            text = (b"19" if int(text[:2]) >= _UTC_PIVOT else b"20") + text
        elif element.tag != GENERALIZED_TIME or len(text) != _GENERALIZED_TIME_SIZE:
            raise MalformedEvidence(element.offset, f"{what}: not a time of RFC 5280")
        digits = text[:-1]
        if text[-1:] != b"Z" or not digits.isdigit():
            raise MalformedEvidence(element.offset, f"{what}: not a Zulu time to the second")
        month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(4, 14, 2))
        try:
            return datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            raise MalformedEvidence(element.offset, f"{what}: no such date") from None

    def finish(self) -> None:
        """Refuse elements that the schema does not know."""
        self._reader.finish()

    def _length(self, what: str) -> int:
        at = self.offset
        first = self._reader.u8(what)
        if first < _LONG_FORM:
            return first
        count = first & ~_LONG_FORM
        if not 1 <= count <= _MAX_LENGTH_BYTES:
            raise MalformedEvidence(at, f"{what}: indefinite or oversized DER length")
        size = self._reader.be(count, what)
        if size < _LONG_FORM or size < 1 << 8 * (count - 1):
            raise MalformedEvidence(at, f"{what}: DER length is not minimal")
        return size


def read(data: bytes, *, what: str, max_bytes: int) -> DerReader:
    """Return a reader over `data`, whose size is checked first."""
    check_budget(data, max_bytes, what)
    return DerReader(data)


def _integer_size(value: int) -> int:
    """Bytes of the shortest two's complement form."""
    return (value if value >= 0 else ~value).bit_length() // 8 + 1


def _trailing_zeros(octet: int) -> int:
    """Zero bits below the lowest one; 8 for a zero octet."""
    return 8 if octet == 0 else (octet & -octet).bit_length() - 1


def _dotted(element: Element, what: str) -> str:
    arcs: list[int] = []
    arc, started = 0, False
    for octet in element.content:
        if not started and octet == _LONG_FORM:
            raise MalformedEvidence(element.offset, f"{what}: OBJECT IDENTIFIER is not minimal")
        arc = arc << 7 | octet & 0x7F
        started = bool(octet & _LONG_FORM)
        if not started:
            arcs.append(arc)
            arc = 0
    if started or not arcs:
        raise MalformedEvidence(element.offset, f"{what}: OBJECT IDENTIFIER is cut short")
    # X.690 8.19.4: the first arc is 0, 1 or 2 and shares its subidentifier with the second.
    first = min(arcs[0] // 40, 2)
    return ".".join(str(part) for part in (first, arcs[0] - 40 * first, *arcs[1:]))
