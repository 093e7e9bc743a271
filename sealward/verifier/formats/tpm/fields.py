"""The building blocks of TPM structures (TPM 2.0 part 2; all numbers big-endian)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from enum import IntEnum
    from typing import TypeVar

    Kind = TypeVar("Kind", bound=IntEnum)


def sized(reader: Reader, what: str, *, most: int) -> bytes:
    """Read a TPM2B: two bytes of size, then that many, `most` at most."""
    size = reader.be(2, what)
    if size > most:
        raise reader.malformed(f"{what}: {size} bytes, at most {most} are allowed")
    return reader.take(size, what)


def pack(data: bytes) -> bytes:
    """Return the TPM2B of `data`."""
    return len(data).to_bytes(2, "big") + data


def known(reader: Reader, kind: type[Kind], what: str) -> Kind:
    """Read a two-byte identifier that must be one of `kind`."""
    value = reader.be(2, what)
    try:
        return kind(value)
    except ValueError:
        raise reader.malformed(f"{what}: {value:#06x} is not known") from None


def boolean(reader: Reader, what: str) -> bool:
    """Read a TPMI_YES_NO: one byte, 0 or 1."""
    value = reader.u8(what)
    if value > 1:
        raise reader.malformed(f"{what}: {value} is neither 0 nor 1")
    return value == 1


def name(reader: Reader, what: str) -> bytes:
    """Read a TPM2B_NAME of an object: hash identifier and a digest of that hash's size."""
    data = sized(reader, what, most=2 + HashAlg.SHA512.size)
    inside = Reader(data)
    algorithm = known(inside, HashAlg, what)
    if inside.remaining != algorithm.size:
        raise reader.malformed(f"{what}: not the digest of a {algorithm.label} name")
    return data


def be(value: int, size: int) -> bytes:
    """Return `value` in `size` bytes."""
    return value.to_bytes(size, "big")


def unpack_outer(data: bytes, what: str, *, most: int) -> bytes:
    """Return the inside of a TPM2B that is the whole of `data`.

    Raises:
        MalformedEvidence: its size says otherwise, or is above `most`.
    """
    reader = Reader(data)
    inside = sized(reader, what, most=most)
    reader.finish()
    if not inside:
        raise MalformedEvidence(0, f"{what}: empty")
    return inside
