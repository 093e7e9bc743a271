"""The TPM algorithm identifiers we know beside hashes (TCG Algorithm Registry)."""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final


@unique
class ObjectType(IntEnum):
    """The kinds of objects we read."""

    RSA = 0x0001
    KEYED_HASH = 0x0008
    ECC = 0x0023


@unique
class SigningScheme(IntEnum):
    """The signature schemes an attestation key may have."""

    RSASSA = 0x0014
    RSAPSS = 0x0016
    ECDSA = 0x0018


@unique
class Curve(IntEnum):
    """Elliptic curves."""

    P256 = 0x0003
    P384 = 0x0004
    P521 = 0x0005

    @property
    def field_size(self) -> int:
        """Bytes of a coordinate."""
        return _FIELD_SIZES[self]


AES: Final = 0x0006
CFB: Final = 0x0043
NULL: Final = 0x0010

_FIELD_SIZES: Final = {Curve.P256: 32, Curve.P384: 48, Curve.P521: 66}
