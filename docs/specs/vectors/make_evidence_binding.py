"""Writes evidence-binding.json: bindings, what evidence carries for them, ratchet proofs, refusals.

    python docs/specs/vectors/make_evidence_binding.py

Everything is fixed: another run writes the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats.binding import AgentStatement, Audience, Binding, Purpose
from sealward.verifier.wire import cbor

OUTPUT: Final = Path(__file__).with_name("evidence-binding.json")
RATCHET_SECRET: Final = bytes(range(32))
# A P-256 SubjectPublicKeyInfo with the generator of the curve as its point.
TLS_SPKI: Final = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d030107034200"
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
SMALLEST: Final = Binding(
    purpose=Purpose.ENROLL,
    nonce=bytes([0x11]) * 32,
    audience=Audience(trust_domain="vectors.sealward.invalid", pin=bytes([0x22]) * 32),
    tenant="default",
    tls_spki=TLS_SPKI,
    hpke_suite=0x0020,
    hpke_public=bytes([0x33]) * 32,
    signing_public=bytes([0x44]) * 32,
    statement=AgentStatement(agent_version="1.0", clock_source="tsc"),
)
FULLEST: Final = replace(
    SMALLEST,
    purpose=Purpose.ATTEST,
    hpke_suite=0x647A,
    hpke_public=bytes([0x55]) * 1216,
    statement=AgentStatement(
        agent_version="1.0",
        clock_source="kvm-clock",
        held_leases=(bytes([0x66]) * 16, bytes([0x67]) * 16),
        open_models=(bytes([0x77]) * 32,),
    ),
    inference_config=bytes([0x88]) * 32,
    ratchet=(
        7,
        bindings.ratchet_mac(RATCHET_SECRET, SMALLEST.nonce, TLS_SPKI),
    ),
    sub_evidence=(bytes([0x99]) * 32, bytes([0x9A]) * 32),
    logs=(bytes([0xAA]) * 32,),
    further_keys=(("backup", bytes([0xBB]) * 32), ("inference", bytes([0xCC]) * 32)),
)


def build() -> dict[str, Any]:
    """Return the whole document."""
    return {
        "bindings": [
            _described("enrolment, nothing optional", SMALLEST),
            _described("attestation, everything that there is", FULLEST),
        ],
        "ratchet": {
            "secret": RATCHET_SECRET.hex(),
            "nonce": SMALLEST.nonce.hex(),
            "tls_spki": TLS_SPKI.hex(),
            "mac": bindings.ratchet_mac(RATCHET_SECRET, SMALLEST.nonce, TLS_SPKI).hex(),
        },
        "malformed": [{"name": name, "binding": data.hex()} for name, data in _malformed()],
    }


def _described(name: str, binding: Binding) -> dict[str, Any]:
    encoded = binding.encode()
    digest = bindings.digest(encoded)
    return {
        "name": name,
        "purpose": binding.purpose.value,
        "binding": encoded.hex(),
        "carried_64": digest.hex(),
        "carried_32": digest[:32].hex(),
        "node": bindings.thumbprint(binding.tls_spki).hex(),
    }


def _malformed() -> list[tuple[str, bytes]]:
    encoded = SMALLEST.encode()
    fields = cbor.decode(encoded, what="vector", max_bytes=bindings.MAX_BYTES)
    if not isinstance(fields, dict):
        raise TypeError("a binding is a map")

    def other(**changes: cbor.Value) -> bytes:
        given: dict[cbor.Key, cbor.Value] = {int(k[1:]): v for k, v in changes.items()}
        return cbor.encode({**fields, **given})

    return [
        ("empty", b""),
        ("cut short", encoded[:-1]),
        ("a byte too many", encoded + b"\0"),
        ("version 2", other(_1=["sealward/evidence-binding", 2])),
        ("another label", other(_1=["sealward/terms", 1])),
        ("unknown purpose", other(_2="admin")),
        ("nonce of 31 bytes", other(_3=bytes(31))),
        ("nonce as text", other(_3="11" * 32)),
        ("pin of 20 bytes", other(_4=["vectors.sealward.invalid", bytes(20)])),
        ("ratchet index below zero", other(_10=[-1, bytes(32)])),
        ("an unknown key", other(_14=None)),
        ("a key is missing", cbor.encode({k: v for k, v in fields.items() if k != 13})),  # noqa: PLR2004 - field 13
        ("further keys out of order", other(_13=[["b", bytes(32)], ["a", bytes(32)]])),
        ("a further key twice", other(_13=[["a", bytes(32)], ["a", bytes(32)]])),
        ("65 items in a list", other(_11=[bytes([i]) * 32 for i in range(65)])),
    ]


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(build(), indent=1, sort_keys=True, ensure_ascii=True) + "\n")
