"""A minimal writer of DER (X.690), enough for an X.509 certificate.

Why not the builder of `cryptography`: AMD's VCEK and VLEK certificates have serial number 0 and an
extension whose value is not DER, and the builder refuses the first. A minter must also be able to
write certificates that are wrong in one chosen place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

_SHORT_FORM_LIMIT: Final = 0x80
# RFC 5280 4.1.2.5: dates through 2049 are UTCTime, later ones GeneralizedTime.
_LAST_UTC_TIME_YEAR: Final = 2049


def tlv(tag: int, content: bytes) -> bytes:
    """One element with a single-byte tag and the shortest definite length."""
    size = len(content)
    if size < _SHORT_FORM_LIMIT:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*items: bytes) -> bytes:
    """SEQUENCE of already encoded items."""
    return tlv(0x30, b"".join(items))


def set_of_one(item: bytes) -> bytes:
    """SET OF with one already encoded item, so that ordering does not arise."""
    return tlv(0x31, item)


def explicit(number: int, content: bytes) -> bytes:
    """A constructed context-specific element `[number] EXPLICIT`."""
    return tlv(0xA0 | number, content)


def integer(value: int) -> bytes:
    """A non-negative INTEGER; the leading zero keeps values above 7F from turning negative."""
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def boolean(*, value: bool) -> bytes:
    """BOOLEAN; where FALSE is the default, DER writes nothing instead."""
    return tlv(0x01, b"\xff" if value else b"\x00")


def enumerated(value: int) -> bytes:
    """A non-negative ENUMERATED."""
    return tlv(0x0A, integer(value)[2:])


def null() -> bytes:
    """NULL."""
    return tlv(0x05, b"")


def octet_string(value: bytes) -> bytes:
    """OCTET STRING."""
    return tlv(0x04, value)


def bit_string(value: bytes, *, unused_bits: int = 0) -> bytes:
    """BIT STRING whose last byte has `unused_bits` (0..7) bits that do not count."""
    return tlv(0x03, bytes((unused_bits,)) + value)


def ia5_string(value: str) -> bytes:
    """IA5String."""
    return tlv(0x16, value.encode("ascii"))


def utf8_string(value: str) -> bytes:
    """UTF8String."""
    return tlv(0x0C, value.encode())


def object_identifier(dotted: str) -> bytes:
    """OBJECT IDENTIFIER from its dotted form; X.690 8.19."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return tlv(0x06, b"".join(_base128(arc) for arc in (first * 40 + second, *rest)))


def time(instant: datetime) -> bytes:
    """UTCTime or GeneralizedTime of an aware UTC instant, to the second; RFC 5280 4.1.2.5."""
    if instant.year <= _LAST_UTC_TIME_YEAR:
        return tlv(0x17, instant.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(0x18, instant.strftime("%Y%m%d%H%M%SZ").encode())


def _base128(arc: int) -> bytes:
    septets = [arc & 0x7F]
    while arc := arc >> 7:
        septets.append(0x80 | (arc & 0x7F))
    return bytes(reversed(septets))
