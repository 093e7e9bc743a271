"""HPKE (RFC 9180, base mode, one shot) over the two suites that keys are wrapped with.

A key is serialised as `u16 suite id || raw parts`; the suite id is the KEM's registered HPKE id,
and KDF (HKDF-SHA256) and AEAD (AES-256-GCM) are fixed by it. The hybrid's parts are ML-KEM-768
first, X25519 second, as in draft-connolly-cfrg-xwing-kem; private parts are the seeds.

The binding draws the randomness of an encapsulation from OpenSSL: it cannot be injected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final, Self, TypeAlias, assert_never

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
)
from cryptography.hazmat.primitives.hpke import Suite as _Hpke

from sealward.sealing.errors import Code, MalformedSealedModel, RefusedSealedModel, as_malformed
from sealward.sealing.memory import take_secret, wipe
from sealward.verifier.wire.reader import Reader

_SUITE_ID_BYTES: Final = 2
_X25519_BYTES: Final = 32
_MLKEM_PUBLIC_BYTES: Final = 1184
_MLKEM_SEED_BYTES: Final = 64
_AEAD_TAG_BYTES: Final = 16

_Public: TypeAlias = X25519PublicKey | MLKEM768X25519PublicKey
_Private: TypeAlias = X25519PrivateKey | MLKEM768X25519PrivateKey


@unique
class Suite(StrEnum):
    """The suites, by the name that files carry."""

    MLKEM768_X25519 = "mlkem768-x25519"  # X-Wing: the default
    X25519 = "x25519"  # for peers without ML-KEM

    @property
    def id(self) -> int:
        """The KEM's id in the HPKE registry."""
        return 0x647A if self is Suite.MLKEM768_X25519 else 0x0020

    @property
    def encapsulated_bytes(self) -> int:
        """Length of the encapsulated key at the head of a ciphertext."""
        return 1120 if self is Suite.MLKEM768_X25519 else 32

    def ciphertext_bytes(self, plaintext_bytes: int) -> int:
        """Return the exact length of a sealed plaintext."""
        return self.encapsulated_bytes + plaintext_bytes + _AEAD_TAG_BYTES


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key to seal to: two keys are equal when their encodings are."""

    suite: Suite
    encoded: bytes = field(repr=False)
    _handle: _Public = field(repr=False, compare=False)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read `u16 suite id || raw parts`, exactly.

        Raises:
            MalformedSealedModel: MALFORMED_KEY, an unknown suite, a wrong length or an impossible
                key.
        """
        with as_malformed(Code.MALFORMED_KEY):
            reader = Reader(data)
            suite = _suite(reader)
            mlkem = (
                reader.take(_MLKEM_PUBLIC_BYTES, "ML-KEM-768 public key")
                if suite is Suite.MLKEM768_X25519
                else b""
            )
            x25519 = reader.take(_X25519_BYTES, "X25519 public key")
            reader.finish()
        try:
            handle = _public(suite, mlkem, x25519)
        except ValueError:  # a coefficient of the ML-KEM key is not reduced
            raise MalformedSealedModel(Code.MALFORMED_KEY, "impossible public key") from None
        return cls(suite, data, handle)

    @property
    def key_id(self) -> bytes:
        """SHA-256 of the encoded key, suite id included."""
        return hashlib.sha256(self.encoded).digest()


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key to open with. What OpenSSL holds of it is cleansed when the object is dropped."""

    public: PublicKey
    _parts: bytearray = field(repr=False, compare=False)
    _handle: _Private = field(repr=False, compare=False)

    @classmethod
    def generate(cls, suite: Suite, random_bytes: Callable[[int], bytes]) -> Self:
        """Make a key from fresh random bytes."""
        return cls._from_parts(suite, bytearray(random_bytes(_private_bytes(suite))))

    @classmethod
    def decode(cls, data: bytes | bytearray) -> Self:
        """Read `u16 suite id || raw private parts`, exactly; the caller wipes `data`.

        Raises:
            MalformedSealedModel: MALFORMED_KEY, an unknown suite or a wrong length.
        """
        with memoryview(data) as view:  # no Reader over the rest: its pieces could not be wiped
            with as_malformed(Code.MALFORMED_KEY):
                suite = _suite(Reader(bytes(view[:_SUITE_ID_BYTES])))
            if len(view) != _SUITE_ID_BYTES + _private_bytes(suite):
                raise MalformedSealedModel(Code.MALFORMED_KEY, f"{suite} private key: wrong length")
            return cls._from_parts(suite, bytearray(view[_SUITE_ID_BYTES:]))

    @classmethod
    def _from_parts(cls, suite: Suite, parts: bytearray) -> Self:
        with memoryview(parts) as view:
            x25519 = X25519PrivateKey.from_private_bytes(view[-_X25519_BYTES:])
            handle: _Private = x25519
            mlkem_public = b""
            if suite is Suite.MLKEM768_X25519:
                mlkem = MLKEM768PrivateKey.from_seed_bytes(view[:_MLKEM_SEED_BYTES])
                mlkem_public = mlkem.public_key().public_bytes_raw()
                handle = MLKEM768X25519PrivateKey(mlkem, x25519)
        x25519_public = x25519.public_key().public_bytes_raw()
        encoded = suite.id.to_bytes(_SUITE_ID_BYTES, "big") + mlkem_public + x25519_public
        return cls(PublicKey.decode(encoded), parts, handle)

    def encode(self) -> bytearray:
        """Return `u16 suite id || raw private parts`, for the caller to store safely and wipe."""
        return bytearray(self.public.suite.id.to_bytes(_SUITE_ID_BYTES, "big")) + self._parts

    def wipe(self) -> None:
        """Overwrite our copy of the private parts; the handle goes with the object."""
        wipe(self._parts)


def seal(public: PublicKey, plaintext: bytes | bytearray, info: bytes) -> bytes:
    """Return `encapsulated key || ciphertext`.

    Raises:
        RefusedSealedModel: WRAP_REFUSED, the public key is one that no private key can have.
    """
    try:
        return _hpke(public.suite).encrypt(plaintext, public._handle, info=info)  # noqa: SLF001 - the pair of this class
    except ValueError:  # an X25519 key of small order
        raise RefusedSealedModel(Code.WRAP_REFUSED, "nothing can be sealed to this key") from None


def open(private: PrivateKey, ciphertext: bytes, info: bytes) -> bytearray:  # noqa: A001 - RFC 9180's verb; callers write hpke.open
    """Return the plaintext, in a buffer for the caller to wipe.

    Raises:
        RefusedSealedModel: WRAP_REFUSED, for another key, context or ciphertext alike: which of
            them was wrong cannot be told.
    """
    try:
        secret = _hpke(private.public.suite).decrypt(ciphertext, private._handle, info=info)  # noqa: SLF001 - the pair of this class
    except (InvalidTag, ValueError):
        raise RefusedSealedModel(
            Code.WRAP_REFUSED, "not sealed to this key for this use, or changed since"
        ) from None
    return take_secret(secret)


def _hpke(suite: Suite) -> _Hpke:
    match suite:
        case Suite.MLKEM768_X25519:
            return _Hpke(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
        case Suite.X25519:
            return _Hpke(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    assert_never(suite)


def _suite(reader: Reader) -> Suite:
    number = reader.be(_SUITE_ID_BYTES, "suite id")
    for suite in Suite:
        if suite.id == number:
            return suite
    raise MalformedSealedModel(Code.MALFORMED_KEY, f"suite {number:#06x} is not known")


def _private_bytes(suite: Suite) -> int:
    return _X25519_BYTES + (_MLKEM_SEED_BYTES if suite is Suite.MLKEM768_X25519 else 0)


def _public(suite: Suite, mlkem: bytes, x25519: bytes) -> _Public:
    x25519_key = X25519PublicKey.from_public_bytes(x25519)
    if suite is Suite.X25519:
        return x25519_key
    return MLKEM768X25519PublicKey(MLKEM768PublicKey.from_public_bytes(mlkem), x25519_key)
