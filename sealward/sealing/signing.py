"""Creator keys: Ed25519 and ML-DSA-65 together, so that a signature stands while either does.

Both signatures are required, always: a verifier with a choice would accept the weaker one.
Serialised as `u16 suite id (1) || Ed25519 || ML-DSA-65`; private parts are the 32-byte seeds. Key
files are strict JSON (docs/specs/sealed-model.md section 7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from sealward.sealing.context import signature_message
from sealward.sealing.errors import Code, MalformedSealedModel, RefusedSealedModel, as_malformed
from sealward.sealing.fields import Fields, decode_strict
from sealward.sealing.memory import wipe
from sealward.verifier.wire import base64, json
from sealward.verifier.wire.reader import Reader

SUITE_NAME: Final = "ed25519+ml-dsa-65"
ED25519_SIGNATURE_BYTES: Final = 64
MLDSA65_SIGNATURE_BYTES: Final = 3309
MAX_KEY_FILE_BYTES: Final = 8192  # a public file is about 2.9 kB

_SUITE_ID: Final = b"\x00\x01"
_ED25519_PUBLIC_BYTES: Final = 32
_MLDSA65_PUBLIC_BYTES: Final = 1952
_SEED_BYTES: Final = 32
_PRIVATE_BYTES: Final = len(_SUITE_ID) + 2 * _SEED_BYTES


@dataclass(frozen=True, slots=True)
class Signatures:
    """Both signatures of one message; lengths are fixed by the algorithms."""

    ed25519: bytes
    mldsa65: bytes


# What stands in a header until it is signed; it verifies under no key.
UNSIGNED: Final = Signatures(bytes(ED25519_SIGNATURE_BYTES), bytes(MLDSA65_SIGNATURE_BYTES))


@dataclass(frozen=True, slots=True)
class CreatorPublicKey:
    """Who may have sealed a model."""

    encoded: bytes = field(repr=False)
    _ed25519: Ed25519PublicKey = field(repr=False, compare=False)
    _mldsa65: MLDSA65PublicKey = field(repr=False, compare=False)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read `suite id || Ed25519 || ML-DSA-65`, exactly.

        Raises:
            MalformedSealedModel: MALFORMED_KEY.
        """
        with as_malformed(Code.MALFORMED_KEY):
            reader = Reader(data)
            if reader.take(len(_SUITE_ID), "suite id") != _SUITE_ID:
                raise MalformedSealedModel(Code.MALFORMED_KEY, "not a creator key of suite 1")
            ed25519 = reader.take(_ED25519_PUBLIC_BYTES, "Ed25519 public key")
            mldsa65 = reader.take(_MLDSA65_PUBLIC_BYTES, "ML-DSA-65 public key")
            reader.finish()
        return cls(
            data,
            Ed25519PublicKey.from_public_bytes(ed25519),
            MLDSA65PublicKey.from_public_bytes(mldsa65),
        )

    @classmethod
    def parse_file(cls, data: bytes) -> Self:
        """Read a creator public key file.

        Raises:
            MalformedSealedModel: MALFORMED_KEY.
        """
        fields = _file(data, "creator-public-key", "public_key")
        public = cls.decode(fields.base64("public_key", most=MAX_KEY_FILE_BYTES))
        if fields.hex("key_id", 32) != public.key_id:
            raise MalformedSealedModel(Code.MALFORMED_KEY, "key_id is not that of public_key")
        return public

    @property
    def key_id(self) -> bytes:
        """SHA-256 of the encoded key."""
        return hashlib.sha256(self.encoded).digest()

    def encode_file(self) -> bytes:
        """Return the canonical bytes of a public key file."""
        return json.canonical(
            {
                "v": 1,
                "kind": "creator-public-key",
                "suite": SUITE_NAME,
                "key_id": self.key_id.hex(),
                "public_key": base64.encode(self.encoded),
            }
        )

    def verify(self, signed: bytes, signatures: Signatures) -> None:
        """Accept `signed` only under both signatures.

        Raises:
            RefusedSealedModel: SIGNATURE_INVALID.
        """
        message = signature_message(signed)
        try:
            self._ed25519.verify(signatures.ed25519, message)
            self._mldsa65.verify(signatures.mldsa65, message)
        except InvalidSignature:
            raise RefusedSealedModel(
                Code.SIGNATURE_INVALID, "the creator did not sign this header"
            ) from None


@dataclass(frozen=True, slots=True)
class CreatorPrivateKey:
    """Signs sealed models. What OpenSSL holds of it is cleansed when the object is dropped."""

    public: CreatorPublicKey
    _seeds: bytearray = field(repr=False, compare=False)
    _ed25519: Ed25519PrivateKey = field(repr=False, compare=False)
    _mldsa65: MLDSA65PrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes]) -> Self:
        """Make a key from fresh random bytes."""
        return cls._from_seeds(bytearray(random_bytes(2 * _SEED_BYTES)))

    @classmethod
    def decode(cls, data: bytes | bytearray) -> Self:
        """Read `suite id || Ed25519 seed || ML-DSA-65 seed`, exactly; the caller wipes `data`.

        Raises:
            MalformedSealedModel: MALFORMED_KEY.
        """
        with memoryview(data) as view:  # no Reader: its pieces could not be wiped
            if len(view) != _PRIVATE_BYTES or bytes(view[: len(_SUITE_ID)]) != _SUITE_ID:
                raise MalformedSealedModel(Code.MALFORMED_KEY, "not a creator private key")
            return cls._from_seeds(bytearray(view[len(_SUITE_ID) :]))

    @classmethod
    def parse_file(cls, data: bytes) -> Self:
        """Read a creator private key file.

        The decoded text of the file passes through immutable objects, which cannot be wiped.

        Raises:
            MalformedSealedModel: MALFORMED_KEY.
        """
        fields = _file(data, "creator-private-key", "private_key")
        private = cls.decode(fields.base64("private_key", most=_PRIVATE_BYTES))
        if fields.hex("key_id", 32) != private.public.key_id:
            raise MalformedSealedModel(Code.MALFORMED_KEY, "key_id is not that of private_key")
        return private

    @classmethod
    def _from_seeds(cls, seeds: bytearray) -> Self:
        with memoryview(seeds) as view:
            ed25519 = Ed25519PrivateKey.from_private_bytes(view[:_SEED_BYTES])
            mldsa65 = MLDSA65PrivateKey.from_seed_bytes(view[_SEED_BYTES:])
        encoded = (
            _SUITE_ID
            + ed25519.public_key().public_bytes_raw()
            + mldsa65.public_key().public_bytes_raw()
        )
        return cls(CreatorPublicKey.decode(encoded), seeds, ed25519, mldsa65)

    def encode_file(self) -> bytes:
        """Return the canonical bytes of a private key file, for a 0600 file only."""
        return json.canonical(
            {
                "v": 1,
                "kind": "creator-private-key",
                "suite": SUITE_NAME,
                "key_id": self.public.key_id.hex(),
                "private_key": base64.encode(_SUITE_ID + bytes(self._seeds)),
            }
        )

    def sign(self, signed: bytes) -> Signatures:
        """Return both signatures over `signed`."""
        message = signature_message(signed)
        return Signatures(self._ed25519.sign(message), self._mldsa65.sign(message))

    def wipe(self) -> None:
        """Overwrite our copy of the seeds; the handles go with the object."""
        wipe(self._seeds)


def _file(data: bytes, kind: str, key_name: str) -> Fields:
    value = decode_strict(data, what=kind, max_bytes=MAX_KEY_FILE_BYTES, code=Code.MALFORMED_KEY)
    names = ("key_id", "kind", "suite", "v", key_name)
    fields = Fields(value, names, what=kind, code=Code.MALFORMED_KEY)
    fields.fixed("v", 1)
    fields.fixed("kind", kind)
    fields.fixed("suite", SUITE_NAME)
    return fields
