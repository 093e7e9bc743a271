"""Evidence for one challenge: the binding says whom it speaks for, the attester proves it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from sealward.enclave_agent.attesters.port import Attester, AttesterUnavailable, Evidence
from sealward.enclave_agent.identity import InstanceKeys
from sealward.enclave_agent.messages import Challenge
from sealward.enclave_agent.own_thread import OwnThread
from sealward.protos.trust import TrustConfiguration
from sealward.sealing import hpke
from sealward.verifier.rats import binding
from sealward.verifier.rats.binding import AgentStatement, Binding, Purpose

COLLECT_S: Final = 30  # no challenge lives longer (docs/specs/challenge.md)


@dataclass(frozen=True, slots=True)
class Ratchet:
    """The secret that the next attestation proves to hold (docs/specs/evidence-binding.md 4)."""

    index: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundEvidence:
    """Evidence and the binding it carries, both as they are sent.

    Attributes:
        challenge: what is answered.
        hpke_key: the key that the binding names; the answer is wrapped to it.
        binding: deterministic CBOR.
        evidence: RATS CMW.
    """

    challenge: Challenge
    hpke_key: hpke.PrivateKey
    binding: bytes
    evidence: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceMaker:
    """What is the same in every binding of this instance."""

    trust: TrustConfiguration
    keys: InstanceKeys
    attester: Attester
    _thread: OwnThread[Evidence] = field(default_factory=OwnThread, init=False, repr=False)

    async def make(
        self,
        purpose: Purpose,
        challenge: Challenge,
        *,
        hpke_key: hpke.PrivateKey,
        statement: AgentStatement,
        ratchet: Ratchet | None,
    ) -> BoundEvidence:
        """Collect fresh evidence, on a thread of its own: hardware takes its time.

        Raises:
            AttesterUnavailable: no evidence can be had here, or not while the challenge lives.
        """
        encoded = Binding(
            purpose=purpose,
            nonce=challenge.nonce,
            audience=self.trust.audience(),
            tenant=self.trust.tenant,
            tls_spki=self.keys.tls_spki,
            hpke_suite=hpke_key.public.suite.id,
            hpke_public=_raw(hpke_key.public),
            signing_public=self.keys.signing_public,
            statement=statement,
            ratchet=None if ratchet is None else self._prove(ratchet, challenge.nonce),
        ).encode()
        try:
            async with asyncio.timeout(COLLECT_S):
                digest = binding.digest(encoded)
                collected = await self._thread.run(lambda: self.attester.collect(digest))
        except TimeoutError:
            raise AttesterUnavailable(f"The attester gave no evidence in {COLLECT_S} s.") from None
        return BoundEvidence(
            challenge=challenge, hpke_key=hpke_key, binding=encoded, evidence=collected.cmw
        )

    def _prove(self, ratchet: Ratchet, nonce: bytes) -> tuple[int, bytes]:
        return ratchet.index, binding.ratchet_mac(ratchet.secret, nonce, self.keys.tls_spki)


def _raw(public: hpke.PublicKey) -> bytes:
    """Return the key without its suite id, which the binding carries beside it (field 7)."""
    return public.encoded.removeprefix(public.suite.id.to_bytes(2, "big"))
