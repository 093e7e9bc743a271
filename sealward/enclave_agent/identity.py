"""The keys of one instance: born in this process, never written, gone with it.

A restart is therefore a new instance (security-requirements F5). The HPKE key is replaced at least
daily (F9); an answer in flight keeps the key its request bound, nothing else needs the old one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sealward.enclave_agent.clock import NS_PER_S
from sealward.sealing import hpke
from sealward.verifier.rats import binding

HPKE_LIFE_NS: Final = 24 * 3600 * NS_PER_S
_PROOF_LABEL: Final = b"sealward/enroll-proof/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceKeys:
    """The TLS and signing keys of this instance.

    Attributes:
        tls_spki: DER SubjectPublicKeyInfo of the P-256 TLS key.
        signing_public: raw Ed25519 key that signs wipe statements.
    """

    tls_spki: bytes
    signing_public: bytes
    _tls: ec.EllipticCurvePrivateKey = field(repr=False)
    _signing: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make the keys of a new instance."""
        tls = ec.generate_private_key(ec.SECP256R1())
        signing = Ed25519PrivateKey.generate()
        return cls(
            tls_spki=tls.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            signing_public=signing.public_key().public_bytes_raw(),
            _tls=tls,
            _signing=signing,
        )

    @property
    def node(self) -> bytes:
        """The 32-byte thumbprint that names this instance."""
        return binding.thumbprint(self.tls_spki)

    def prove(self, nonce: bytes, encoded_binding: bytes) -> bytes:
        """Return the proof of possession for enrolment: DER ECDSA P-256 with SHA-256."""
        message = _PROOF_LABEL + nonce + hashlib.sha256(encoded_binding).digest()
        return self._tls.sign(message, ec.ECDSA(hashes.SHA256()))

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature by the signing key."""
        return self._signing.sign(message)

    def tls_key_pem(self) -> bytes:
        """Return the TLS key as gRPC takes it: PKCS#8 PEM, for the caller to pass on and drop."""
        return self._tls.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class HpkeKeyring:
    """The HPKE key that the next attestation binds."""

    def __init__(self, *, random_bytes: Callable[[int], bytes], now_ns: int) -> None:
        self._random_bytes: Final = random_bytes
        self._made_ns = now_ns
        self._key = self._generate()

    def current(self, now_ns: int) -> hpke.PrivateKey:
        """Return the key to bind now; a new one when the last is a day old."""
        if now_ns - self._made_ns >= HPKE_LIFE_NS:
            self._key.wipe()
            self._key = self._generate()
            self._made_ns = now_ns
        return self._key

    def wipe(self) -> None:
        """Overwrite what is ours of the last key: the agent ends."""
        self._key.wipe()

    def _generate(self) -> hpke.PrivateKey:
        return hpke.PrivateKey.generate(hpke.Suite.MLKEM768_X25519, self._random_bytes)
