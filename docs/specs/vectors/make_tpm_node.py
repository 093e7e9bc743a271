"""Writes tpm-node.json: the credential's secret and proof, lock policies, and locked keys.

    python docs/specs/vectors/make_tpm_node.py

Everything is fixed: another run writes the same bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, Final

from sealward.protos import terms, tpm_node
from sealward.protos.tpm_node import LockKey
from sealward.verifier.formats.tpm import lock
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.wire.tcg_hash import HashAlg

OUTPUT: Final = Path(__file__).with_name("tpm-node.json")
NONCE: Final = bytes(range(32))
ACTIVATION_KEY: Final = bytes([0x41]) * 32
EK_SHA256: Final = bytes([0x42]) * 32
AK_NAME: Final = b"\x00\x0b" + bytes([0x43]) * 32
BINDING: Final = bytes.fromhex("a10101")  # any bytes: only their digest enters
LOCK_SECRET: Final = bytes([0x44]) * 32
TERMS_DIGEST: Final = bytes([0x45]) * 32
LEASE: Final = bytes([0x46]) * 16
SHA256: Final = PcrBank(HashAlg.SHA256, ((0, bytes([1]) * 32), (7, bytes([7]) * 32)))
RUNNING: Final = PcrBank(HashAlg.SHA256, (*SHA256.values, (10, bytes([10]) * 32)))
SHA384: Final = PcrBank(HashAlg.SHA384, ((4, bytes([4]) * 48),))


def build() -> dict[str, Any]:
    """Return the whole document."""
    message = tpm_node.activation_message(NONCE, ek_sha256=EK_SHA256.hex(), ak_name=AK_NAME)
    secret = hmac.digest(ACTIVATION_KEY, message, "sha256")
    proof = tpm_node.credential_proof(secret, nonce=NONCE, binding=BINDING)
    return {
        "activation": {
            "key": ACTIVATION_KEY.hex(),
            "nonce": NONCE.hex(),
            "ek_sha256": EK_SHA256.hex(),
            "ak_name": AK_NAME.hex(),
            "secret": secret.hex(),
            "binding": BINDING.hex(),
            "proof": proof.hex(),
        },
        "policies": [_policy(name, banks) for name, banks in _states()],
        "locked": {
            "secret": LOCK_SECRET.hex(),
            "terms_digest": TERMS_DIGEST.hex(),
            "keys": [_locked(index) for index in range(2)],
        },
    }


def _states() -> list[tuple[str, tuple[PcrBank, ...]]]:
    return [
        ("one bank", (SHA256,)),
        ("two banks", (SHA256, SHA384)),
        ("their order counts", (SHA384, SHA256)),
        ("PCR 10 is left out", (RUNNING,)),
        (
            "a bank of PCR 10 alone is left out",
            (SHA256, PcrBank(HashAlg.SHA384, ((10, bytes(48)),))),
        ),
    ]


def _policy(name: str, banks: tuple[PcrBank, ...]) -> dict[str, Any]:
    return {
        "name": name,
        "banks": [
            {
                "bank": int(bank.bank),
                "values": {str(index): value.hex() for index, value in bank.values},
            }
            for bank in banks
        ],
        "auth_policy": lock.state_policy(banks).hex(),
    }


def _locked(index: int) -> dict[str, Any]:
    key = hashlib.sha256(bytes([index])).digest()
    plaintext = terms.encode_content_key(LEASE, hashlib.sha256(key).digest(), key)
    return {
        "index": index,
        "plaintext": plaintext.hex(),
        "ciphertext": LockKey.derive(LOCK_SECRET, TERMS_DIGEST).seal(index, plaintext).hex(),
    }


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(build(), indent=1, sort_keys=True, ensure_ascii=True) + "\n")
