"""The keys that attestation results are signed with: P-256, as JSON Web Keys (RFC 7517, 7518).

A key is named by its RFC 7638 thumbprint, in results (`kid`) and as the key that a node must show
(`cnf.jkt`). docs/specs/attestation-result.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64, json
from sealward.verifier.wire.reader import Reader

SIGNATURE_BYTES: Final = 64  # RFC 7518 3.4: r and s, 32 bytes each
MAX_KEYS: Final = 16  # a control plane publishes one, and two while one replaces the other
MAX_SET_BYTES: Final = 16_384

_COORDINATE: Final = 32
_EC2_POINT: Final = 4  # uncompressed, SEC 1 2.3.3


@dataclass(frozen=True, slots=True)
class ResultKey:
    """A P-256 public key with its name.

    Attributes:
        key_id: RFC 7638 thumbprint, base64url.
        x, y: coordinates, 32 bytes each.
    """

    key_id: str
    x: bytes
    y: bytes
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    @classmethod
    def of(cls, key: ec.EllipticCurvePublicKey) -> Self:
        """Return the named form of a key that is on P-256."""
        numbers = key.public_numbers()
        x, y = (number.to_bytes(_COORDINATE, "big") for number in (numbers.x, numbers.y))
        return cls(_thumbprint(x, y), x, y, key)

    @classmethod
    def from_spki(cls, spki: bytes) -> Self:
        """Read a DER SubjectPublicKeyInfo.

        Raises:
            MalformedEvidence: not a P-256 key.
        """
        try:
            key = load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
            key.curve, ec.SECP256R1
        ):
            raise MalformedEvidence(0, "the key is not a P-256 SubjectPublicKeyInfo")
        return cls.of(key)

    def to_jwk(self) -> dict[str, json.Canonical]:
        """Return the JSON Web Key."""
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": base64.encode_url(self.x),
            "y": base64.encode_url(self.y),
            "kid": self.key_id,
            "use": "sig",
            "alg": "ES256",
        }

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Tell whether `signature`, r and s, is one over `data` by this key (ES256)."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        reader = Reader(signature)
        r, s = (int.from_bytes(reader.take(_COORDINATE, name), "big") for name in ("r", "s"))
        try:
            self._key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def decode_set(data: bytes) -> tuple[ResultKey, ...]:
    """Read a JWK set as a control plane publishes it.

    Raises:
        MalformedEvidence: not strict JSON of that shape, a key of another kind, or a `kid` that is
            not the key's thumbprint.
    """
    document = json.decode(data, what="key set", max_bytes=MAX_SET_BYTES)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not 0 < len(keys) <= MAX_KEYS:
        raise MalformedEvidence(0, f"a key set has 1 to {MAX_KEYS} keys")
    return tuple(map(_key, keys))


def encode_set(keys: tuple[ResultKey, ...]) -> bytes:
    """Return the JWK set, canonical."""
    return json.canonical({"keys": [key.to_jwk() for key in keys]})


def _key(value: json.Value) -> ResultKey:
    if not isinstance(value, dict) or (value.get("kty"), value.get("crv")) != ("EC", "P-256"):
        raise MalformedEvidence(0, "a key of the set is not a P-256 key")
    if value.get("alg") != "ES256" or value.get("use") != "sig":
        raise MalformedEvidence(0, "a key of the set is not for ES256 signatures")
    x, y = (_coordinate(value.get(name), name) for name in ("x", "y"))
    try:
        point = bytes([_EC2_POINT]) + x + y
        key = ResultKey.of(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
    except ValueError:
        raise MalformedEvidence(0, "a key of the set is not on P-256") from None
    if value.get("kid") != key.key_id:
        raise MalformedEvidence(0, "the kid of a key is not its thumbprint")
    return key


def _coordinate(value: json.Value, name: str) -> bytes:
    if not isinstance(value, str):
        raise MalformedEvidence(0, f"{name} of a key is not text")
    data = base64.decode_url(value, what=f"{name} of a key", max_bytes=_COORDINATE)
    if len(data) != _COORDINATE:
        raise MalformedEvidence(0, f"{name} of a key has {len(data)} bytes")
    return data


def _thumbprint(x: bytes, y: bytes) -> str:
    """Return the RFC 7638 thumbprint: SHA-256 of the required members in order."""
    required = {
        "crv": "P-256",
        "kty": "EC",
        "x": base64.encode_url(x),
        "y": base64.encode_url(y),
    }
    return base64.encode_url(hashlib.sha256(json.canonical(required)).digest())
