"""The release core: the only code in which workload keys and content keys exist in clear (F2).

Everything that leaves it is HPKE ciphertext to an attested node, or the fact that a key could be
opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Self

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.keys import KeyContext, WrapPurpose
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.domain.workloads import ModelVersion, WorkloadKey
from sealward.controlplane.services.ports import Keystore
from sealward.protos import terms
from sealward.protos.tpm_node import SECRET_BYTES, LockKey
from sealward.sealing import hpke
from sealward.sealing.errors import SealedModelError
from sealward.sealing.header import SealedHeader
from sealward.sealing.memory import wipe
from sealward.sealing.wrap import check_commitment, unwrap_content_key
from sealward.verifier.formats.tpm import credential as credentials
from sealward.verifier.formats.tpm.credential import Credential
from sealward.verifier.formats.tpm.lock import TpmLock

_KEYS_REMEMBERED: Final = 2048  # a node binds the same one for a day


@dataclass(frozen=True, slots=True)
class SendableKey:
    """A content key on its way to a node, in clear.

    Attributes:
        lease_id: 16 bytes, of the lease that carries it.
        content_key_id: 16 bytes.
        key: wiped by whoever opened it.
    """

    lease_id: bytes
    content_key_id: bytes
    key: bytearray = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReleaseCore:
    """Opens content keys for one tenant."""

    keystore: Keystore
    tenant: str

    def content_key(self, model: ModelVersion, key: WorkloadKey) -> bytearray:
        """Return the content key of a registered model version; the caller wipes it.

        Raises:
            Refused: `key_unusable` when the header names another key or does not open.
        """
        header = SealedHeader.parse(model.registration)
        wrap = next((w for w in header.wraps if w.key_id.hex() == key.key_id), None)
        if wrap is None:
            raise Refused(
                Code.key_unusable,
                f"model {model.name} version {model.version} has no wrap for this workload key",
                "rewrap the model for the workload's key and register it again",
            )
        context = KeyContext(
            purpose=WrapPurpose.workload_private,
            tenant=self.tenant,
            workload=key.workload,
            version=key.version,
        )
        encoded = bytearray(self.keystore.unwrap(key.wrapped_private, context))
        private = hpke.PrivateKey.decode(encoded)
        wipe(encoded)
        try:
            content_key = unwrap_content_key(wrap, private, header.core_digest)
            check_commitment(content_key, header.core_digest, header.commitment)
        except SealedModelError as error:
            raise Refused(
                Code.key_unusable,
                f"the content key of {model.name} version {model.version} does not open",
                "seal the model again with the workload's present public key",
            ) from error
        finally:
            private.wipe()
        return content_key


@dataclass(frozen=True, slots=True)
class AnswerLock:
    """The inner layer around the content keys of one answer (docs/specs/tpm-node.md 4).

    Attributes:
        credential: opens it, in that TPM while it is in the appraised state.
    """

    credential: Credential
    _key: LockKey = field(repr=False)

    @classmethod
    def of(cls, lock: TpmLock, digest: bytes, random_bytes: RandomBytes) -> Self:
        """Return a fresh lock for an answer whose terms have this digest."""
        secret = random_bytes(SECRET_BYTES)
        credential = credentials.make(lock.ek, lock.object_name, secret, random_bytes=random_bytes)
        return cls(credential, LockKey.derive(secret, digest))

    def around(self, plaintext: bytearray, place: int) -> bytearray:
        """Return the content key that stands at this place of the answer, locked."""
        return bytearray(self._key.seal(place, bytes(plaintext)))


def seal_content_keys(
    node_public: bytes,
    keys: Iterable[SendableKey],
    *,
    digest: bytes,
    lock: AnswerLock | None,
) -> tuple[bytes, ...]:
    """Return content keys under HPKE to a node's bound key, tied to the terms with `digest`.

    Args:
        node_public: the encoded key.
        keys: in the order in which they are sent.
        digest: SHA-256 of the terms payload.
        lock: the layer inside of HPKE, for a TPM node.
    """
    sealed = []
    for place, sent in enumerate(keys):
        plaintext = bytearray(
            terms.encode_content_key(sent.lease_id, sent.content_key_id, bytes(sent.key))
        )
        try:
            inner = plaintext if lock is None else lock.around(plaintext, place)
            sealed.append(hpke.seal(_node_key(node_public), inner, terms.content_key_info(digest)))
        finally:
            wipe(plaintext)
    return tuple(sealed)


def seal_ratchet(node_public: bytes, *, index: int, secret: bytes, digest: bytes) -> bytes:
    """Return the next ratchet secret under HPKE to a node's bound key, tied to the terms."""
    plaintext = bytearray(terms.encode_ratchet(index, secret))
    try:
        return hpke.seal(_node_key(node_public), plaintext, terms.ratchet_info(digest))
    finally:
        wipe(plaintext)


@lru_cache(maxsize=_KEYS_REMEMBERED)
def _node_key(encoded: bytes) -> hpke.PublicKey:
    """Return a node's public key; the same bytes are always the same key."""
    return hpke.PublicKey.decode(encoded)
