"""Private keys from given randomness, so that a test's are the same at every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

RandomBytes = Callable[[int], bytes]

_P256_ORDER: Final = int("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
_P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)
# FIPS 186-5 A.2.1: 64 bits more than the order make the bias of the reduction negligible.
_EXTRA: Final = 8


def p256_key(random_bytes: RandomBytes) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key from the given randomness; FIPS 186-5 A.2.1."""
    seed = int.from_bytes(random_bytes(32 + _EXTRA), "big")
    return ec.derive_private_key(seed % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def p384_key(random_bytes: RandomBytes) -> ec.EllipticCurvePrivateKey:
    """A P-384 private key from the given randomness; FIPS 186-5 A.2.1."""
    seed = int.from_bytes(random_bytes(48 + _EXTRA), "big")
    return ec.derive_private_key(seed % (_P384_ORDER - 1) + 1, ec.SECP384R1())
