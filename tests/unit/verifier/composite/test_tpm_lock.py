"""What a lock object must be before keys are locked with it (docs/specs/tpm-node.md 4)."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from fakes.software_tpm import EndorsementKey, lock_object, name_of
from unit.verifier.composite.test_tpm_node import EK, KNOWN, TPM, context, evidence_of, verify

from sealward.verifier.composite.tpm_node import VerifiedNode
from sealward.verifier.formats.tpm import credential
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence

LOCK = lock_object(TPM.banks)


def locked(
    lock: bytes | None = LOCK, ek: bytes | None = EK.public, **changed: bytes | None
) -> tpm_evidence.Evidence:
    return replace(evidence_of(), lock_public=lock, ek_public=ek, **changed)


def node_of(evidence: tpm_evidence.Evidence) -> VerifiedNode:
    native = verify(evidence, context(KNOWN)).native
    assert isinstance(native, VerifiedNode)
    return native


def test_a_credential_for_the_lock_opens_beside_its_object_only() -> None:
    lock = node_of(locked()).lock
    assert lock is not None
    assert lock.object_name == name_of(LOCK)
    secret = os.urandom(32)
    made = credential.make(lock.ek, lock.object_name, secret, random_bytes=os.urandom)
    assert EK.activate(made.id_object, made.encrypted_secret, name_of(LOCK)) == secret
    with pytest.raises(AssertionError):
        EK.activate(made.id_object, made.encrypted_secret, name_of(TPM.ak_public))


def test_evidence_without_a_lock_object_has_no_lock() -> None:
    assert node_of(evidence_of()).lock is None
    assert node_of(locked(lock=None)).lock is None


OTHER_STATE = {"sha256": {**TPM.banks["sha256"], 7: bytes(32)}}
FEWER = {"sha256": {0: TPM.banks["sha256"][0]}}


@pytest.mark.parametrize(
    "lock",
    [
        lock_object(OTHER_STATE),
        lock_object(FEWER),
        lock_object({"sha384": {0: bytes(48)}}),
        lock_object(TPM.banks, policy=b""),
        lock_object(TPM.banks, policy=bytes(32)),
        lock_object(TPM.banks, attributes=0x4D2),  # userWithAuth
        lock_object(TPM.banks, attributes=0x412),  # ADMIN by an authorisation value
        lock_object(TPM.banks, attributes=0x480),  # could leave the TPM
        lock_object(TPM.banks, attributes=0xC92),  # could be duplicated encrypted
        TPM.ak_public,
        EK.public,
    ],
    ids=lambda area: area.hex()[:24],
)
def test_an_object_that_another_state_or_nobody_guards_is_no_lock(lock: bytes) -> None:
    with pytest.raises(RefusedEvidence) as caught:
        verify(locked(lock))
    assert caught.value.code is Code.LOCK_INVALID


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        (locked(ek=None), Code.LOCK_INVALID),
        (locked(ek_certificate=None), Code.LOCK_INVALID),
        (locked(lock=None, ek_certificate=None), Code.LOCK_INVALID),
        (locked(ek=TPM.ak_public), Code.KEY_ATTRIBUTES_FORBIDDEN),
        (locked(ek=EndorsementKey(kind="p384").public), Code.KEY_KIND_MISMATCH),
    ],
    ids=["no EK area", "no certificate", "an EK area alone", "an AK as EK", "another EK"],
)
def test_a_lock_needs_the_endorsement_key_that_its_certificate_certifies(
    evidence: tpm_evidence.Evidence, code: Code
) -> None:
    with pytest.raises(RefusedEvidence) as caught:
        verify(evidence)
    assert caught.value.code is code


def test_a_register_that_ima_extends_locks_nothing() -> None:
    running = replace(TPM, banks={"sha256": {**TPM.banks["sha256"], 10: b"\x10" * 32}})
    evidence = replace(evidence_of(running), lock_public=LOCK, ek_public=EK.public)
    assert node_of(evidence).lock is not None
    with pytest.raises(RefusedEvidence) as caught:
        verify(replace(evidence, lock_public=lock_object(running.banks)))
    assert caught.value.code is Code.LOCK_INVALID


def test_a_quote_of_that_register_alone_locks_nothing() -> None:
    alone = replace(TPM, banks={"sha256": {10: b"\x10" * 32}})
    evidence = replace(evidence_of(alone), event_log=None, ek_public=EK.public)
    with pytest.raises(RefusedEvidence) as caught:
        verify(replace(evidence, lock_public=lock_object(alone.banks)))
    assert caught.value.code is Code.LOCK_INVALID


@pytest.mark.parametrize("lock", [b"\0", LOCK[:-1], LOCK + b"\0", bytes(900)])
def test_bytes_that_are_no_public_area_are_malformed(lock: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        verify(locked(lock))
