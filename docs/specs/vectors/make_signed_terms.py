"""Writes signed-terms.json: grants and revocations, the secrets that travel beside them, refusals.

    python docs/specs/vectors/make_signed_terms.py

Everything is fixed, Ed25519 is deterministic: another run writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealward.protos import terms
from sealward.protos.terms import LeaseTerms, LeaseTermsState, ModelTerms, Terms, TermsKind
from sealward.verifier.wire import cbor

OUTPUT: Final = Path(__file__).with_name("signed-terms.json")
SEED: Final = bytes(range(32))
OTHER_SEED: Final = bytes(range(1, 33))
NODE: Final = bytes([0x11]) * 32
LEASE: Final = bytes([0x22]) * 16
CONTENT_KEY_ID: Final = bytes([0x33]) * 32
MODEL: Final = ModelTerms(
    name="classifier",
    version=3,
    core_digest=bytes([0x44]) * 32,
    header_digest=bytes([0x55]) * 32,
    content_key_id=CONTENT_KEY_ID,
    min_version=2,
)
GRANT: Final = Terms(
    kind=TermsKind.GRANT,
    trust_domain="vectors.sealward.invalid",
    tenant="default",
    node=NODE,
    sequence=1,
    issued_ms=1_788_264_000_250,
    challenge=bytes([0x66]) * 32,
    leases=(
        LeaseTerms(
            lease_id=LEASE,
            workload="scanner",
            state=LeaseTermsState.GRANTED,
            ttl_ms=300_000,
            not_after_ms=1_788_264_300_250,
            cause="ttl of the workload",
            models=(MODEL,),
            obligations={"max_instances": 4, "regions": ("eu", "ch"), "ttl_seconds": 300},
        ),
    ),
    policies={
        "appraisal/organisation": bytes([0x77]) * 32,
        "release/organisation": bytes([0x78]) * 32,
    },
    log_leaf=bytes([0x88]) * 32,
    client_token_keys=(bytes([0x99]) * 32,),
)
REVOCATION: Final = replace(
    GRANT,
    kind=TermsKind.REVOCATION,
    sequence=2,
    challenge=None,
    leases=(
        LeaseTerms(
            lease_id=LEASE,
            workload="scanner",
            state=LeaseTermsState.ENDED,
            ttl_ms=0,
            not_after_ms=1_788_264_100_000,
            cause="unknown_measurement",
        ),
    ),
)
EMPTY: Final = replace(GRANT, leases=(), policies={}, client_token_keys=())


def build() -> dict[str, Any]:
    """Return the whole document."""
    return {
        "seed": SEED.hex(),
        "public": _public(SEED).hex(),
        "kid": terms.key_id(_public(SEED)).hex(),
        "trust_domain": GRANT.trust_domain,
        "tenant": GRANT.tenant,
        "node": NODE.hex(),
        "terms": [
            _described("grant", GRANT),
            _described("revocation", REVOCATION),
            _described("nothing granted", EMPTY),
        ],
        "wrapped": {
            "content_key": terms.encode_content_key(LEASE, CONTENT_KEY_ID, SEED).hex(),
            "content_key_id": CONTENT_KEY_ID.hex(),
            "key": SEED.hex(),
            "lease": LEASE.hex(),
            "ratchet": terms.encode_ratchet(7, SEED).hex(),
            "ratchet_index": 7,
        },
        "refused": [{"name": name, "cose": data.hex()} for name, data in _refused()],
    }


def _described(name: str, made: Terms) -> dict[str, Any]:
    payload = made.encode()
    digest = hashlib.sha256(payload).digest()
    return {
        "name": name,
        "payload": payload.hex(),
        "digest": digest.hex(),
        "cose": _signed(payload).hex(),
        "content_key_info": terms.content_key_info(digest).hex(),
        "ratchet_info": terms.ratchet_info(digest).hex(),
    }


def _refused() -> list[tuple[str, bytes]]:
    payload = GRANT.encode()
    fields = cbor.decode(payload, what="vector", max_bytes=terms.MAX_BYTES)
    if not isinstance(fields, dict):
        raise TypeError("terms are a map")
    signed = _signed(payload)
    lease = GRANT.leases[0]
    above = replace(MODEL, version=1)
    return [
        ("another key", _signed(payload, OTHER_SEED)),
        ("a signature of another statement", signed[:-64] + _signed(REVOCATION.encode())[-64:]),
        ("another payload under the signature", signed.replace(b"scanner", b"scammer")),
        ("untagged", signed[1:]),
        ("a byte too many", signed + b"\0"),
        ("another trust domain", _signed(replace(GRANT, trust_domain="x.invalid").encode())),
        ("another tenant", _signed(replace(GRANT, tenant="other").encode())),
        ("another node", _signed(replace(GRANT, node=bytes(32)).encode())),
        ("a grant that answers nothing", _signed(replace(GRANT, challenge=None).encode())),
        (
            "a revocation that answers a challenge",
            _signed(replace(REVOCATION, challenge=bytes(32)).encode()),
        ),
        ("version 2", _signed(cbor.encode({**fields, 1: 2}))),
        ("an unknown key", _signed(cbor.encode({**fields, 13: None}))),
        ("an unknown kind", _signed(cbor.encode({**fields, 2: 3}))),
        ("a lease twice", _signed(replace(GRANT, leases=(lease, lease)).encode())),
        (
            "an ended lease with a ttl",
            _signed(
                replace(
                    GRANT, leases=(replace(lease, state=LeaseTermsState.ENDED, models=()),)
                ).encode()
            ),
        ),
        (
            "a version below the minimum",
            _signed(replace(GRANT, leases=(replace(lease, models=(above,)),)).encode()),
        ),
    ]


def _signed(payload: bytes, seed: bytes = SEED) -> bytes:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return terms.sign(payload, public=_public(seed), signer=private.sign)


def _public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(build(), indent=1, sort_keys=True, ensure_ascii=True) + "\n")
