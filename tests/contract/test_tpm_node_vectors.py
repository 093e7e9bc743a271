"""The published vectors of TPM nodes (docs/specs/tpm-node.md), computed from the text alone."""

from __future__ import annotations

import hashlib
import hmac
import runpy
import struct
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealward.protos import tpm_node
from sealward.protos.tpm_node import LockKey, TpmLockError
from sealward.verifier.wire import json

_FOLDER: Final = Path(__file__).parents[2] / "docs" / "specs" / "vectors"


def _load() -> dict[str, Any]:
    document = json.decode((_FOLDER / "tpm-node.json").read_bytes(), what="", max_bytes=1 << 20)
    assert isinstance(document, dict)
    return document


VECTORS: Final = _load()
HASHES: Final = {0xB: "sha256", 0xC: "sha384"}


def raw(value: str) -> bytes:
    return bytes.fromhex(value)


def lp(label: bytes) -> bytes:
    return struct.pack(">H", len(label)) + label


def test_the_generator_writes_these_bytes() -> None:
    made = runpy.run_path(str(_FOLDER / "make_tpm_node.py"))
    assert json.canonical(made["build"]()) == json.canonical(VECTORS)


def test_secret_and_proof_of_a_credential() -> None:
    vector = VECTORS["activation"]
    nonce, name = raw(vector["nonce"]), raw(vector["ak_name"])
    message = lp(b"sealward/tpm-activation/v1") + nonce + raw(vector["ek_sha256"]) + name
    assert (
        tpm_node.activation_message(nonce, ek_sha256=vector["ek_sha256"], ak_name=name) == message
    )
    secret = hmac.digest(raw(vector["key"]), message, "sha256")
    assert secret == raw(vector["secret"])
    digest = hashlib.sha256(raw(vector["binding"])).digest()
    proof = hmac.digest(secret, lp(b"sealward/credential-proof/v1") + nonce + digest, "sha256")
    assert proof == raw(vector["proof"])
    assert proof == tpm_node.credential_proof(secret, nonce=nonce, binding=raw(vector["binding"]))


@pytest.mark.parametrize("vector", VECTORS["policies"], ids=lambda vector: vector["name"])
def test_the_policy_of_a_lock_object(vector: dict[str, Any]) -> None:
    # What IMA extends (PCR 10) locks nothing.
    lasting = [
        (bank["bank"], {at: value for at, value in bank["values"].items() if at != "10"})
        for bank in vector["banks"]
    ]
    banks = [(bank, values) for bank, values in lasting if values]
    selection, digested = struct.pack(">I", len(banks)), b""
    for bank, values in banks:
        bitmap = sum(1 << int(index) for index in values)
        selection += struct.pack(">HB", bank, 3) + bitmap.to_bytes(3, "little")
        digested += b"".join(raw(values[index]) for index in sorted(values, key=int))
    pcr = struct.pack(">I", 0x17F) + selection + hashlib.sha256(digested).digest()
    state = hashlib.sha256(bytes(32) + pcr).digest()
    code = struct.pack(">II", 0x16C, 0x147)
    assert hashlib.sha256(state + code).hexdigest() == vector["auth_policy"]


def test_a_locked_key_opens_in_its_place_and_for_its_terms_only() -> None:
    vector = VECTORS["locked"]
    secret, digest = raw(vector["secret"]), raw(vector["terms_digest"])
    info = lp(b"sealward/tpm-lock/v1") + digest
    extracted = hmac.digest(bytes(32), secret, "sha256")
    aead = AESGCM(hmac.digest(extracted, info + b"\x01", "sha256"))
    for entry in vector["keys"]:
        index, locked = entry["index"], raw(entry["ciphertext"])
        plain = aead.decrypt(index.to_bytes(12, "big"), locked, b"")
        assert plain == raw(entry["plaintext"])
        key = LockKey.derive(secret, digest)
        assert key.open(index, locked) == plain
        wrong: tuple[tuple[LockKey, int, bytes], ...] = (
            (key, index + 1, locked),
            (LockKey.derive(secret, bytes(32)), index, locked),
            (LockKey.derive(bytes(32), digest), index, locked),
            (key, index, locked[:-1]),
            (key, index, b""),
        )
        for other, place, data in wrong:
            with pytest.raises(TpmLockError):
                other.open(place, data)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_another_size_makes_no_key(size: int) -> None:
    with pytest.raises(TpmLockError):
        LockKey.derive(bytes(size), bytes(32))
