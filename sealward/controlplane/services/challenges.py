"""Issuing and opening challenges: authenticated, bound to a key, never written anywhere (F10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealward.controlplane.domain import challenge as challenges
from sealward.controlplane.domain.challenge import Challenge
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.services.ports import Clock, Keystore
from sealward.protos.trust import TrustConfiguration
from sealward.verifier.rats.binding import Purpose, thumbprint


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedChallenge:
    """What goes to the agent."""

    nonce: bytes
    ticket: bytes
    expires_in_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeService:
    """Makes and recognises challenges of one control plane and tenant."""

    keystore: Keystore
    clock: Clock
    random_bytes: RandomBytes
    trust: TrustConfiguration

    def issue(self, purpose: Purpose, tls_spki: bytes) -> IssuedChallenge:
        """Return a fresh challenge bound to `tls_spki`; its life starts now."""
        now = self.clock.now()
        challenge = Challenge(
            purpose=purpose,
            nonce=self.random_bytes(32),
            issued=now,
            expires=now + challenges.LIFE,
            trust_domain=self.trust.trust_domain,
            tenant=self.trust.tenant,
            requester=thumbprint(tls_spki),
        )
        ticket = challenges.seal(
            challenge, lambda data: self.keystore.mac(KeyPurpose.challenge_mac, data)
        )
        expires_in_ms = int(challenges.LIFE.total_seconds() * 1000)
        return IssuedChallenge(nonce=challenge.nonce, ticket=ticket, expires_in_ms=expires_in_ms)

    def open(self, ticket: bytes, *, purpose: Purpose, tls_spki: bytes, now: datetime) -> Challenge:
        """Return the challenge of a ticket: authentic, in date, meant for this use and key.

        Raises:
            Refused: `challenge_invalid`, `challenge_expired` or what was mismatched.
        """
        challenge = challenges.open_ticket(ticket, self._verify_mac)
        challenges.require(
            challenge,
            purpose=purpose,
            trust_domain=self.trust.trust_domain,
            tenant=self.trust.tenant,
            requester=thumbprint(tls_spki),
            now=now,
        )
        return challenge

    def _verify_mac(self, key_id: str, data: bytes, tag: bytes) -> bool:
        return self.keystore.verify_mac(KeyPurpose.challenge_mac, key_id, data, tag)
