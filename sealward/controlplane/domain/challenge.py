"""Challenges, version 1 (docs/specs/challenge.md): stateless until redeemed.

A ticket is authenticated by a key that every replica holds, so asking for a challenge writes
nothing (F10).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.records import from_unix_ms, unix_ms
from sealward.verifier.rats.binding import Purpose
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor, statement
from sealward.verifier.wire.reader import Reader

LIFE: Final = timedelta(seconds=30)  # the most a challenge lives (docs/specs/challenge.md)
MAX_TICKET_BYTES: Final = 512  # the longest trust domain and tenant fit
_KEY_ID_BYTES: Final = 8
_TAG_BYTES: Final = 32
_LABEL: Final = b"sealward/challenge/v1"
_WHAT: Final = "challenge ticket"
_FIELDS: Final = 8
_VERSION: Final = 1
_LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999, where datetime ends
_RETRY: Final = "ask for a fresh challenge"

Mac = Callable[[bytes], tuple[str, bytes]]
VerifyMac = Callable[[str, bytes, bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a ticket says.

    Attributes:
        purpose: what the answer may be used for.
        nonce: 32 random bytes.
        issued: freshness and horizon count from here.
        expires: at most `LIFE` later.
        trust_domain: whose challenge it is.
        tenant: of the requester.
        requester: 32-byte thumbprint of the key it is bound to.
    """

    purpose: Purpose
    nonce: bytes
    issued: datetime
    expires: datetime
    trust_domain: str
    tenant: str
    requester: bytes

    @property
    def nonce_hash(self) -> str:
        """Lower hex SHA-256 of the nonce: the key under which it is spent."""
        return hashlib.sha256(self.nonce).hexdigest()


def seal(challenge: Challenge, mac: Mac) -> bytes:
    """Return the ticket of `challenge`.

    `mac` gives the current key's 16-hex-digit id and its tag.
    """
    payload = cbor.encode(
        [
            _VERSION,
            challenge.purpose.value,
            challenge.nonce,
            unix_ms(challenge.issued),
            unix_ms(challenge.expires),
            challenge.trust_domain,
            challenge.tenant,
            challenge.requester,
        ]
    )
    key_id, tag = mac(_LABEL + payload)
    return bytes.fromhex(key_id) + payload + tag


def open_ticket(ticket: bytes, verify_mac: VerifyMac) -> Challenge:
    """Return what an authentic ticket says; expiry and purpose are `require`'s business.

    Raises:
        Refused: `challenge_invalid` for anything this control plane did not issue.
    """
    try:
        key_id, payload, tag = _split(ticket)
        if not verify_mac(key_id, _LABEL + payload, tag):
            raise Refused(Code.challenge_invalid, "the ticket is not authentic", _RETRY)
        return _decode(payload)
    except MalformedEvidence as error:
        raise Refused(Code.challenge_invalid, error.detail, _RETRY) from error


def require(
    challenge: Challenge,
    *,
    purpose: Purpose,
    trust_domain: str,
    tenant: str,
    requester: bytes,
    now: datetime,
) -> None:
    """Check an authentic challenge against the call that redeems it.

    Raises:
        Refused: `challenge_expired`, or what was mismatched.
    """
    if not challenge.issued <= now + timedelta(seconds=2) or now >= challenge.expires:
        raise Refused(Code.challenge_expired, "the challenge has expired", _RETRY)
    if challenge.expires - challenge.issued > LIFE:
        raise Refused(Code.challenge_invalid, "the challenge lives too long", _RETRY)
    if challenge.trust_domain != trust_domain:
        raise Refused(Code.audience_mismatch, "the challenge is for another trust domain", _RETRY)
    if challenge.purpose is not purpose:
        raise Refused(Code.purpose_mismatch, "the challenge is for another purpose", _RETRY)
    if challenge.tenant != tenant:
        raise Refused(Code.tenant_mismatch, "the challenge is for another tenant", _RETRY)
    if challenge.requester != requester:
        raise Refused(Code.key_mismatch, "the challenge was given to another key", _RETRY)


def _split(ticket: bytes) -> tuple[str, bytes, bytes]:
    if not _KEY_ID_BYTES + _TAG_BYTES < len(ticket) <= MAX_TICKET_BYTES:
        raise MalformedEvidence(0, f"{_WHAT}: {len(ticket)} bytes")
    reader = Reader(ticket)
    key_id = reader.take(_KEY_ID_BYTES, "key id").hex()
    payload = reader.take(reader.remaining - _TAG_BYTES, "payload")
    return key_id, payload, reader.take(_TAG_BYTES, "tag")


def _decode(payload: bytes) -> Challenge:
    fields = statement.items(
        cbor.decode(payload, what=_WHAT, max_bytes=MAX_TICKET_BYTES), _WHAT, most=_FIELDS
    )
    if len(fields) != _FIELDS or statement.uint(fields[0], _WHAT) != _VERSION:
        raise MalformedEvidence(0, f"{_WHAT}: not version {_VERSION}")
    _, purpose, nonce, issued, expires, trust_domain, tenant, requester = fields
    return Challenge(
        purpose=_purpose(purpose),
        nonce=statement.octets(nonce, _WHAT, size=32),
        issued=from_unix_ms(statement.uint(issued, _WHAT, most=_LATEST_MS)),
        expires=from_unix_ms(statement.uint(expires, _WHAT, most=_LATEST_MS)),
        trust_domain=statement.text(trust_domain, _WHAT),
        tenant=statement.text(tenant, _WHAT),
        requester=statement.octets(requester, _WHAT, size=32),
    )


def _purpose(value: cbor.Value) -> Purpose:
    try:
        return Purpose(statement.text(value, _WHAT))
    except ValueError:
        raise MalformedEvidence(0, f"{_WHAT}: unknown purpose") from None
