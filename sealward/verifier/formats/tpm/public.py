"""TPMT_PUBLIC, the public area of an object, bytes to fields and back (TPM 2.0 part 2, 12.2.4).

RSA and ECC keys, and keyed-hash objects without a scheme (sealed data). `encode(parse(x)) == x`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from sealward.verifier.formats.tpm import fields
from sealward.verifier.formats.tpm.algorithms import (
    AES,
    CFB,
    NULL,
    Curve,
    ObjectType,
    SigningScheme,
)
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget
from sealward.verifier.wire.tcg_hash import HashAlg

MAX_PUBLIC_BYTES: Final = 1024  # an RSA-4096 key comes to 600
DEFAULT_EXPONENT: Final = 65537

ATTRIBUTES: Final = (
    ("fixedTPM", 1),
    ("stClear", 2),
    ("fixedParent", 4),
    ("sensitiveDataOrigin", 5),
    ("userWithAuth", 6),
    ("adminWithPolicy", 7),
    ("noDA", 10),
    ("encryptedDuplication", 11),
    ("restricted", 16),
    ("decrypt", 17),
    ("sign", 18),
    ("x509sign", 19),
)
_KNOWN_ATTRIBUTES: Final = sum(1 << bit for _, bit in ATTRIBUTES)
_RSA_BITS: Final = (1024, 2048, 3072, 4096)
_AES_BITS: Final = (128, 192, 256)


@dataclass(frozen=True, slots=True)
class Symmetric:
    """AES in CFB mode, by which a storage key protects what is below it."""

    key_bits: int


@dataclass(frozen=True, slots=True)
class Scheme:
    """The signing scheme a key is fixed to."""

    scheme: SigningScheme
    hash: HashAlg


@dataclass(frozen=True, slots=True)
class RsaKey:
    """RSA parameters and modulus; `exponent` is 0 for 65537, as TPMs write it."""

    symmetric: Symmetric | None
    scheme: Scheme | None
    key_bits: int
    exponent: int
    modulus: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EccKey:
    """ECC parameters and point, coordinates as given; no key derivation scheme is known."""

    symmetric: Symmetric | None
    scheme: Scheme | None
    curve: Curve
    x: bytes = field(repr=False)
    y: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyedHash:
    """Sealed data: `unique` is a digest over what is sealed."""

    unique: bytes = field(repr=False)


Key: TypeAlias = RsaKey | EccKey | KeyedHash


@dataclass(frozen=True, slots=True)
class Public:
    """A parsed and unverified public area; `attributes` are its 32 bits."""

    name_alg: HashAlg
    attributes: int
    auth_policy: bytes
    key: Key

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes that are set, by bit."""
        return tuple(name for name, bit in ATTRIBUTES if self.attributes >> bit & 1)

    @property
    def type(self) -> ObjectType:
        """The kind of object."""
        if isinstance(self.key, RsaKey):
            return ObjectType.RSA
        return ObjectType.ECC if isinstance(self.key, EccKey) else ObjectType.KEYED_HASH


def parse(data: bytes) -> Public:
    """Read a TPMT_PUBLIC.

    Raises:
        MalformedEvidence: anything but one known public area within MAX_PUBLIC_BYTES.
    """
    check_budget(data, MAX_PUBLIC_BYTES, "TPMT_PUBLIC")
    reader = Reader(data)
    kind = fields.known(reader, ObjectType, "TPMT_PUBLIC type")
    name_alg = fields.known(reader, HashAlg, "nameAlg")
    attributes = reader.be(4, "objectAttributes")
    if attributes & ~_KNOWN_ATTRIBUTES:
        raise MalformedEvidence(4, f"objectAttributes {attributes:#010x}: reserved bits are set")
    auth_policy = fields.sized(reader, "authPolicy", most=HashAlg.SHA512.size)
    if len(auth_policy) not in (0, name_alg.size):
        raise reader.malformed("authPolicy: not a digest of the name algorithm")
    public = Public(name_alg, attributes, auth_policy, _key(reader, kind))
    reader.finish()
    return public


def parse_sized(data: bytes) -> Public:
    """Read a TPM2B_PUBLIC, the form in which tools store it.

    Raises:
        MalformedEvidence: as `parse`, or a size that is not that of the rest.
    """
    return parse(fields.unpack_outer(data, "TPM2B_PUBLIC", most=MAX_PUBLIC_BYTES))


def encode(public: Public) -> bytes:
    """Return the TPMT_PUBLIC that parses to `public`."""
    return b"".join(
        (
            fields.be(public.type, 2),
            fields.be(public.name_alg, 2),
            fields.be(public.attributes, 4),
            fields.pack(public.auth_policy),
            _pack_key(public.key),
        )
    )


def _key(reader: Reader, kind: ObjectType) -> Key:
    if kind is ObjectType.KEYED_HASH:
        if reader.be(2, "keyed-hash scheme") != NULL:
            raise reader.malformed("keyed-hash scheme: only data without one is known")
        return KeyedHash(fields.sized(reader, "unique", most=HashAlg.SHA512.size))
    symmetric, scheme = _symmetric(reader), _scheme(reader)
    if kind is ObjectType.RSA:
        key_bits, exponent = reader.be(2, "keyBits"), reader.be(4, "exponent")
        modulus = fields.sized(reader, "modulus", most=max(_RSA_BITS) // 8)
        if key_bits not in _RSA_BITS or len(modulus) != key_bits // 8 or modulus[0] < 0x80:  # noqa: PLR2004 - the top bit
            raise reader.malformed(f"modulus: not one of {key_bits} bits")
        return RsaKey(symmetric, scheme, key_bits, exponent, modulus)
    curve = fields.known(reader, Curve, "curve")
    if reader.be(2, "kdf") != NULL:
        raise reader.malformed("kdf: only keys without one are known")
    x = fields.sized(reader, "x", most=curve.field_size)
    y = fields.sized(reader, "y", most=curve.field_size)
    return EccKey(symmetric, scheme, curve, x, y)


def _symmetric(reader: Reader) -> Symmetric | None:
    what = "symmetric algorithm"
    algorithm = reader.be(2, what)
    if algorithm == NULL:
        return None
    key_bits, mode = reader.be(2, what), reader.be(2, what)
    if algorithm != AES or mode != CFB or key_bits not in _AES_BITS:
        raise reader.malformed(f"{what}: only AES in CFB mode is known")
    return Symmetric(key_bits)


def _scheme(reader: Reader) -> Scheme | None:
    value = reader.be(2, "scheme")
    if value == NULL:
        return None
    try:
        scheme = SigningScheme(value)
    except ValueError:
        raise reader.malformed(f"scheme: {value:#06x} is not known") from None
    return Scheme(scheme, fields.known(reader, HashAlg, "scheme hash"))


def _pack_key(key: Key) -> bytes:
    if isinstance(key, KeyedHash):
        return fields.be(NULL, 2) + fields.pack(key.unique)
    symmetric, scheme = key.symmetric, key.scheme
    head = (
        fields.be(NULL, 2)
        if symmetric is None
        else fields.be(AES, 2) + fields.be(symmetric.key_bits, 2) + fields.be(CFB, 2)
    ) + (
        fields.be(NULL, 2)
        if scheme is None
        else fields.be(scheme.scheme, 2) + fields.be(scheme.hash, 2)
    )
    if isinstance(key, RsaKey):
        tail = fields.be(key.key_bits, 2) + fields.be(key.exponent, 4) + fields.pack(key.modulus)
        return head + tail
    point = fields.pack(key.x) + fields.pack(key.y)
    return head + fields.be(key.curve, 2) + fields.be(NULL, 2) + point
