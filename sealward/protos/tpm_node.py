"""What control plane and TPM nodes compute and expect alike (docs/specs/tpm-node.md 3 and 4).

Here are the proof that a credential was opened, and the inner layer around content keys.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECRET_BYTES: Final = 32
# Bytes of a runtime measurement list in one message: some 25,000 entries, above what a server
# measures that runs programs and libraries for weeks.
MAX_RUNTIME_LOG: Final = 3 << 20

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_ACTIVATION: Final = b"sealward/tpm-activation/v1"
_PROOF: Final = b"sealward/credential-proof/v1"
_LOCK: Final = b"sealward/tpm-lock/v1"


class TpmLockError(Exception):
    """The inner layer does not open; says nothing of its content."""


def activation_message(nonce: bytes, *, ek_sha256: str, ak_name: bytes) -> bytes:
    """Return what the activation key authenticates: the result is the credential's secret.

    Args:
        nonce: of the challenge that the enrolment will answer, 32 bytes.
        ek_sha256: SHA-256 of the endorsement key's DER SubjectPublicKeyInfo, lower-case hex.
        ak_name: Name of the attestation key.
    """
    return _length_prefixed(_ACTIVATION) + nonce + bytes.fromhex(ek_sha256) + ak_name


def credential_proof(secret: bytes, *, nonce: bytes, binding: bytes) -> bytes:
    """Return the proof (32 bytes) that `secret` came out of a credential, for this enrolment."""
    message = _length_prefixed(_PROOF) + nonce + hashlib.sha256(binding).digest()
    return hmac.digest(secret, message, "sha256")


@dataclass(frozen=True, slots=True)
class LockKey:
    """The key of the inner layer of one answer; `derive` makes it from what a credential held."""

    _aead: AESGCM = field(repr=False)

    @classmethod
    def derive(cls, secret: bytes, terms_digest: bytes) -> LockKey:
        """Return the key for the terms with this digest.

        Raises:
            TpmLockError: the secret is not of SECRET_BYTES: a credential of somebody else's making.
        """
        if len(secret) != SECRET_BYTES:
            raise TpmLockError("the secret of a lock has 32 bytes")
        info = _length_prefixed(_LOCK) + terms_digest
        hkdf = HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info)
        return cls(AESGCM(hkdf.derive(secret)))

    def seal(self, index: int, plaintext: bytes) -> bytes:
        """Return the i-th content key locked; an index MUST be used once with one key."""
        return self._aead.encrypt(index.to_bytes(_NONCE_BYTES, "big"), plaintext, None)

    def open(self, index: int, ciphertext: bytes) -> bytes:
        """Return the i-th content key.

        Raises:
            TpmLockError: another key, another place in the answer, or other bytes.
        """
        if len(ciphertext) < _TAG_BYTES:
            raise TpmLockError("the locked key does not open")
        try:
            return self._aead.decrypt(index.to_bytes(_NONCE_BYTES, "big"), ciphertext, None)
        except InvalidTag:
            raise TpmLockError("the locked key does not open") from None


def _length_prefixed(label: bytes) -> bytes:
    return len(label).to_bytes(2, "big") + label
