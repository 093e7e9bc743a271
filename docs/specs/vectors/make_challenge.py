"""Writes challenge.json: tickets, and what redeeming one under each condition comes to.

    python docs/specs/vectors/make_challenge.py

Everything is fixed: another run writes the same bytes.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sealward.controlplane.domain import challenge as challenges
from sealward.controlplane.domain.challenge import Challenge
from sealward.controlplane.domain.errors import Code
from sealward.controlplane.domain.records import unix_ms
from sealward.verifier.rats.binding import Purpose

OUTPUT: Final = Path(__file__).with_name("challenge.json")
KEY: Final = bytes(range(32))
KEY_ID: Final = "0102030405060708"
ISSUED: Final = datetime(2026, 9, 1, 12, 0, 0, 250_000, tzinfo=UTC)
REQUESTER: Final = bytes([0x22]) * 32
CHALLENGE: Final = Challenge(
    purpose=Purpose.ATTEST,
    nonce=bytes([0x11]) * 32,
    issued=ISSUED,
    expires=ISSUED + challenges.LIFE,
    trust_domain="vectors.sealward.invalid",
    tenant="default",
    requester=REQUESTER,
)


def mac(data: bytes) -> tuple[str, bytes]:
    """Return the key's id and the tag over `data`."""
    return KEY_ID, hmac.digest(KEY, data, "sha256")


def build() -> dict[str, Any]:
    """Return the whole document."""
    ticket = challenges.seal(CHALLENGE, mac)
    return {
        "key": KEY.hex(),
        "key_id": KEY_ID,
        "tickets": [
            _described(CHALLENGE),
            _described(replace(CHALLENGE, purpose=Purpose.ENROLL)),
            _described(replace(CHALLENGE, trust_domain="x" * 63, tenant="t" * 63)),
        ],
        "redemptions": _redemptions(ticket),
        "invalid": [{"name": name, "ticket": data.hex()} for name, data in _invalid(ticket)],
    }


def _described(challenge: Challenge) -> dict[str, Any]:
    return {
        "purpose": challenge.purpose.value,
        "nonce": challenge.nonce.hex(),
        "nonce_hash": challenge.nonce_hash,
        "issued": unix_ms(challenge.issued),
        "expires": unix_ms(challenge.expires),
        "trust_domain": challenge.trust_domain,
        "tenant": challenge.tenant,
        "requester": challenge.requester.hex(),
        "ticket": challenges.seal(challenge, mac).hex(),
    }


def _redemptions(ticket: bytes) -> list[dict[str, Any]]:
    at = {
        "purpose": CHALLENGE.purpose.value,
        "trust_domain": CHALLENGE.trust_domain,
        "tenant": CHALLENGE.tenant,
        "requester": REQUESTER.hex(),
        "now": unix_ms(ISSUED),
    }
    life = challenges.LIFE // timedelta(milliseconds=1)
    cases: list[tuple[str, dict[str, Any], Code | None]] = [
        ("as it was given", {}, None),
        ("at its last millisecond", {"now": unix_ms(ISSUED) + life - 1}, None),
        ("at its expiry", {"now": unix_ms(ISSUED) + life}, Code.challenge_expired),
        ("long before its issue", {"now": unix_ms(ISSUED) - 3_000}, Code.challenge_expired),
        ("for another purpose", {"purpose": Purpose.ENROLL.value}, Code.purpose_mismatch),
        ("for another trust domain", {"trust_domain": "other.invalid"}, Code.audience_mismatch),
        ("for another tenant", {"tenant": "other"}, Code.tenant_mismatch),
        ("by another key", {"requester": "33" * 32}, Code.key_mismatch),
    ]
    return [
        {"name": name, "ticket": ticket.hex(), **at, **changes, "expect": code or "redeemed"}
        for name, changes, code in cases
    ]


def _invalid(ticket: bytes) -> list[tuple[str, bytes]]:
    def flipped(at: int) -> bytes:
        return ticket[:at] + bytes([ticket[at] ^ 1]) + ticket[at + 1 :]

    return [
        ("empty", b""),
        ("too short for its parts", ticket[:40]),
        ("cut short", ticket[:-1]),
        ("a byte too many", ticket + b"\0"),
        ("another key id", flipped(0)),
        ("another payload", flipped(20)),
        ("another tag", flipped(len(ticket) - 1)),
        ("longer than 512 bytes", ticket[:-32] + bytes(512) + ticket[-32:]),
        (
            "authentic, and not version 1",
            _sealed(b"\x81\x02"),
        ),
    ]


def _sealed(payload: bytes) -> bytes:
    return bytes.fromhex(KEY_ID) + payload + mac(b"sealward/challenge/v1" + payload)[1]


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(build(), indent=1, sort_keys=True, ensure_ascii=True) + "\n")
