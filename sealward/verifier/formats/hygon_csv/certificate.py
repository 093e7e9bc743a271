"""Hygon's two kinds of certificate, bytes to fields. They are not X.509 and have no dates.

All numbers are little-endian; coordinates and signatures have 72 bytes, of which SM2 uses 32.

    CA certificate (HRK, HSK), 832 bytes       CSV certificate (CEK, PEK), 2,084 bytes
      0  version u32                             0  version u32
      4  key id 16                               4  API major u8, minor u8; reserved 2
     20  key id of the issuer 16                 8  usage u32
     36  usage u32; reserved 24                 12  algorithm u32
     64  curve u32                              16  curve u32
     68  x 72, y 72                             20  x 72, y 72
    212  user id: size u16, 254 bytes          164  user id: size u16, 254 bytes
    468  reserved 108                          420  key id of the issuer 16
    576  r 72, s 72; reserved 112              436  reserved 608
                                              1044  two signatures of 520 bytes:
                                                    usage u32, algorithm u32, r 72, s 72,
                                                    reserved 368

The signature of a CA certificate covers its first 576 bytes, each of a CSV certificate its first
1,044. Nothing is verified here: see endorsements.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Final

from sealward.verifier.pki.sm2 import Signature
from sealward.verifier.wire.reader import Reader

CA_SIZE: Final = 832
CSV_SIZE: Final = 2084
USER_ID_PREFIX: Final = b"HYGON-SSD-"
SM2_SM3: Final = 4

_CA_VERSION: Final = 1
_CSV_VERSIONS: Final = (1, 2)  # a real PEK has 1, its CEK 2
_STARTS: Final = (b"\x01\0\0\0", b"\x02\0\0\0")
_KEY_ID: Final = 16
_NUMBER: Final = 72
_MAX_USER_ID: Final = 254
_CURVE_SM2: Final = 3


@unique
class Usage(IntEnum):
    """What a key is for; of a signature, whose it is."""

    HRK = 0x0
    HSK = 0x13
    NONE = 0x1000
    OCA = 0x1001
    PEK = 0x1002
    CEK = 0x1004


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature of a certificate and the usage of the key that made it."""

    usage: Usage
    signature: Signature = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A parsed and unverified certificate of either kind.

    Attributes:
        usage: of its key.
        key_id: 16 bytes; None for a CSV certificate, which has none.
        issuer_id: the key id of its issuer, 16 bytes; zero in a PEK.
        api: the API version (major, minor) of the firmware that wrote it; None for a CA.
        x, y: the key, not checked to be a point of the curve.
        user_id: the SM2 user id under which the key signs.
        signatures: over `body`: one of a CA, one or two of a CSV certificate.
        body: the signed bytes.
    """

    usage: Usage
    key_id: bytes | None
    issuer_id: bytes
    api: tuple[int, int] | None
    x: int
    y: int
    user_id: bytes
    signatures: tuple[Signed, ...]
    body: bytes = field(repr=False)


def looks_like(data: bytes) -> bool:
    """Whether it starts with a version of either kind and has a Hygon key's user id in it."""
    return data.startswith(_STARTS) and USER_ID_PREFIX in data


def parse_ca(data: bytes) -> Certificate:
    """Read an HRK or HSK.

    Raises:
        MalformedEvidence: not the layout above, or a value that Hygon does not use.
    """
    what = "Hygon CA certificate"
    reader = Reader(data)
    _expect(reader, _CA_VERSION, f"{what}: version")
    key_id = reader.take(_KEY_ID, what)
    issuer_id = reader.take(_KEY_ID, what)
    usage = _usage(reader, what)
    reader.must_be_zero(24, what)
    _expect(reader, _CURVE_SM2, f"{what}: curve")
    x, y = _pair(reader, what)
    user_id = _user_id(reader, what)
    reader.must_be_zero(108, what)
    body = reader.since(0)
    signature = Signature(*_pair(reader, what))
    reader.must_be_zero(112, what)
    reader.finish()
    return Certificate(
        usage=usage,
        key_id=key_id,
        issuer_id=issuer_id,
        api=None,
        x=x,
        y=y,
        user_id=user_id,
        signatures=(Signed(Usage.HRK, signature),),  # an HRK signs itself and the HSK
        body=body,
    )


def parse_csv(data: bytes, *, base: int = 0) -> Certificate:
    """Read a CEK or PEK; `base` is where it begins in a report, for the offsets of errors.

    Raises:
        MalformedEvidence: not the layout above, or a value that Hygon does not use.
    """
    what = "Hygon CSV certificate"
    reader = Reader(data, base=base)
    version = reader.le(4, what)
    if version not in _CSV_VERSIONS:
        raise reader.malformed(f"{what}: version {version}, only 1 and 2 are known")
    api = reader.u8(what), reader.u8(what)
    reader.must_be_zero(2, what)
    usage = _usage(reader, what)
    _expect(reader, SM2_SM3, f"{what}: algorithm")
    _expect(reader, _CURVE_SM2, f"{what}: curve")
    x, y = _pair(reader, what)
    user_id = _user_id(reader, what)
    issuer_id = reader.take(_KEY_ID, what)
    reader.must_be_zero(608, what)
    body = reader.since(0)
    signatures = (_signature(reader, what), _signature(reader, what))
    reader.finish()
    return Certificate(
        usage=usage,
        key_id=None,
        issuer_id=issuer_id,
        api=api,
        x=x,
        y=y,
        user_id=user_id,
        signatures=tuple(one for one in signatures if one is not None),
        body=body,
    )


def _expect(reader: Reader, expected: int, what: str) -> None:
    found = reader.le(4, what)
    if found != expected:
        raise reader.malformed(f"{what} {found:#x}, only {expected:#x} is known")


def _usage(reader: Reader, what: str) -> Usage:
    found = reader.le(4, what)
    try:
        return Usage(found)
    except ValueError:
        raise reader.malformed(f"{what}: usage {found:#x} is not known") from None


def _pair(reader: Reader, what: str) -> tuple[int, int]:
    return reader.le(_NUMBER, what), reader.le(_NUMBER, what)


def _user_id(reader: Reader, what: str) -> bytes:
    size = reader.le(2, what)
    if not 1 <= size <= _MAX_USER_ID:
        raise reader.malformed(f"{what}: a user id of {size} bytes")
    user_id = reader.take(size, what)
    reader.must_be_zero(_MAX_USER_ID - size, what)
    return user_id


def _signature(reader: Reader, what: str) -> Signed | None:
    """Return one of the two signatures; None for a place that is not used."""
    usage = _usage(reader, what)
    if usage is Usage.NONE:
        reader.must_be_zero(4 + 2 * _NUMBER + 368, what)
        return None
    _expect(reader, SM2_SM3, f"{what}: algorithm of a signature")
    signature = Signature(*_pair(reader, what))
    reader.must_be_zero(368, what)
    return Signed(usage, signature)
