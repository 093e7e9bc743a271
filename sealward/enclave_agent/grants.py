"""Opening what travels wrapped beside a grant: content keys and the next ratchet secret.

docs/specs/signed-terms.md, "Wrapped keys" and rule 5; for content keys of a TPM node the layer
within, docs/specs/tpm-node.md 4. A wrapped secret that does not open, or that
opens to a key which these terms do not lease, is refused alone: the leases themselves stand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum, unique

from sealward.enclave_agent.evidence import BoundEvidence, Ratchet
from sealward.enclave_agent.leases import HeldLease
from sealward.enclave_agent.messages import AttestAnswer
from sealward.protos import terms
from sealward.protos.terms import ModelTerms
from sealward.protos.tpm_node import LockKey, TpmLockError
from sealward.sealing import hpke
from sealward.sealing.errors import SealedModelError
from sealward.sealing.memory import take_secret, wipe
from sealward.verifier.rats.errors import MalformedEvidence


@unique
class WrapCode(StrEnum):
    """Why a wrapped secret was not used."""

    WRAP_REFUSED = "wrap_refused"
    MALFORMED = "malformed_wrap"
    NOT_LEASED = "key_not_leased"
    LOCK_NOT_OPENED = "lock_not_opened"


class WrapRefused(Exception):
    """A wrapped secret that is of no use; says nothing of its content."""

    def __init__(self, code: WrapCode) -> None:
        self.code = code
        super().__init__(code.value)


@dataclass(frozen=True, slots=True)
class GrantedKey:
    """A content key and the leased model it opens; whoever takes it wipes `key`."""

    model: ModelTerms
    key: bytearray = field(repr=False)


def layer_within(
    answer: AttestAnswer, sent: BoundEvidence, *, secret: bytes | None, terms_digest: bytes
) -> LockKey | None:
    """Return what opens the layer within the content keys of an answer; None where there is none.

    Args:
        answer: what came.
        sent: the evidence that it answers.
        secret: what the lock of that evidence gave out, or None where it did not open.
        terms_digest: of the terms that came along.

    Raises:
        WrapRefused: keys for evidence with a lock came without one, or a lock for evidence without;
            or the lock did not open.
    """
    if (answer.lock is None) != (sent.lock is None):
        raise WrapRefused(WrapCode.WRAP_REFUSED)
    if sent.lock is None:
        return None
    if secret is None:
        raise WrapRefused(WrapCode.LOCK_NOT_OPENED)
    try:
        return LockKey.derive(secret, terms_digest)
    except TpmLockError:
        raise WrapRefused(WrapCode.LOCK_NOT_OPENED) from None


def open_content_key(
    ciphertext: bytes,
    *,
    hpke_key: hpke.PrivateKey,
    terms_digest: bytes,
    leases: Iterable[HeldLease],
    layer: LockKey | None = None,
    index: int = 0,
) -> GrantedKey:
    """Open one wrapped content key.

    Args:
        ciphertext: as it came.
        hpke_key: the key that the answered request bound.
        terms_digest: of the terms it came with.
        leases: what those terms granted or renewed, and the book accepted.
        layer: opens the layer within, where there is one.
        index: the key's place among those that came, from 0.

    Raises:
        WrapRefused: see `WrapCode`.
    """
    plaintext = _open(hpke_key, ciphertext, terms.content_key_info(terms_digest))
    try:
        if layer is not None:
            plaintext = layer.open(index, plaintext)
        lease_id, content_key_id, shared = terms.decode_content_key(plaintext)
    except TpmLockError:
        raise WrapRefused(WrapCode.WRAP_REFUSED) from None
    except MalformedEvidence:
        raise WrapRefused(WrapCode.MALFORMED) from None
    finally:
        take_secret(plaintext)  # for its overwriting of a secret nobody else refers to
    key = take_secret(shared)
    for lease in leases:
        for model in lease.models:
            if lease.lease_id == lease_id and model.content_key_id == content_key_id:
                return GrantedKey(model, key)
    wipe(key)
    raise WrapRefused(WrapCode.NOT_LEASED)


def open_ratchet(ciphertext: bytes, *, hpke_key: hpke.PrivateKey, terms_digest: bytes) -> Ratchet:
    """Open the ratchet secret of the next attestation.

    Raises:
        WrapRefused: see `WrapCode`.
    """
    plaintext = _open(hpke_key, ciphertext, terms.ratchet_info(terms_digest))
    try:
        return Ratchet(*terms.decode_ratchet(plaintext))
    except MalformedEvidence:
        raise WrapRefused(WrapCode.MALFORMED) from None


def _open(hpke_key: hpke.PrivateKey, ciphertext: bytes, info: bytes) -> bytes:
    try:
        opened = hpke.open(hpke_key, ciphertext, info)
    except SealedModelError:
        raise WrapRefused(WrapCode.WRAP_REFUSED) from None
    plaintext = bytes(opened)
    wipe(opened)
    return plaintext
