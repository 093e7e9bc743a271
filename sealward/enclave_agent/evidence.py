"""Evidence for one challenge: the binding says whom it speaks for, the attester proves it.

All that is asked of the attester is asked here, one thing at a time and on a thread of its own:
hardware takes its time, and must not be spoken to twice at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sealward.enclave_agent.attesters.port import (
    Attester,
    AttesterUnavailable,
    Credential,
    Evidence,
    KeyToProve,
    Lock,
    ProvesKey,
    RuntimeLogPart,
    Watches,
)
from sealward.enclave_agent.identity import InstanceKeys
from sealward.enclave_agent.messages import Challenge
from sealward.enclave_agent.own_thread import OwnThread
from sealward.protos.trust import TrustConfiguration
from sealward.sealing import hpke
from sealward.verifier.rats import binding
from sealward.verifier.rats.binding import AgentStatement, Binding, Purpose

COLLECT_S: Final = 30  # no challenge lives longer (docs/specs/challenge.md)
MAKE_KEY_S: Final = 120  # before there is a challenge: an RSA key can take a TPM a minute
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ratchet:
    """The secret that the next attestation proves to hold (docs/specs/evidence-binding.md 4)."""

    index: int
    secret: bytes = field(repr=False)


@dataclass(slots=True)
class RuntimeLogProgress:
    """How many entries of this instance's runtime log the control plane need not see again.

    An answer that is lost leaves it behind; the control plane then says so (`runtime_log_gap`).
    """

    proven: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundEvidence:
    """Evidence and the binding it carries, both as they are sent.

    Attributes:
        challenge: what is answered.
        hpke_key: the key that the binding names; the answer is wrapped to it.
        binding: deterministic CBOR.
        evidence: RATS CMW.
        lock: opens what the answer locks to the state shown; None where evidence has no lock.
        runtime_log: goes along; None where the attester has none.
    """

    challenge: Challenge
    hpke_key: hpke.PrivateKey
    binding: bytes
    evidence: bytes
    lock: Lock | None = None
    runtime_log: RuntimeLogPart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceMaker:
    """What is the same in every binding of this instance, and how far its runtime log is proven."""

    trust: TrustConfiguration
    keys: InstanceKeys
    attester: Attester
    runtime_log: RuntimeLogProgress = field(
        default_factory=RuntimeLogProgress, init=False, repr=False
    )
    _thread: OwnThread = field(default_factory=OwnThread, init=False, repr=False)

    async def make(
        self,
        purpose: Purpose,
        challenge: Challenge,
        *,
        hpke_key: hpke.PrivateKey,
        statement: AgentStatement,
        ratchet: Ratchet | None,
    ) -> BoundEvidence:
        """Collect fresh evidence.

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
        digest = binding.digest(encoded)
        # An enrolment begins anew: the control plane may know nothing of this instance.
        proven = 0 if purpose is Purpose.ENROLL else self.runtime_log.proven
        collected, log = await self._ask(lambda: self._collect(digest, proven))
        return BoundEvidence(
            challenge=challenge,
            hpke_key=hpke_key,
            binding=encoded,
            evidence=collected.cmw,
            lock=collected.lock,
            runtime_log=log,
        )

    def _collect(self, digest: bytes, proven: int) -> tuple[Evidence, RuntimeLogPart | None]:
        collected = self.attester.collect(digest)
        log = collected.runtime_log
        return collected, None if log is None else log.behind(proven)

    @property
    def watches(self) -> bool:
        """Whether `changed` can tell anything of this attester."""
        return isinstance(self.attester, Watches)

    async def changed(self) -> bool:
        """Say whether the state differs from that of the last evidence.

        Raises:
            AttesterUnavailable: it cannot be told.
        """
        return isinstance(self.attester, Watches) and await self._ask(self.attester.changed)

    async def key_to_prove(self) -> KeyToProve | None:
        """Return the key that must open a credential before it counts; None where none must.

        Raises:
            AttesterUnavailable: there should be one, and it cannot be had.
        """
        if not isinstance(self.attester, ProvesKey):
            return None
        return await self._ask(self.attester.credential_request, within_s=MAKE_KEY_S)

    async def activate(self, credential: Credential) -> bytes:
        """Return the secret of a credential for the key to prove; the caller overwrites it.

        Raises:
            AttesterUnavailable: it does not open here.
        """
        attester = self.attester
        if not isinstance(attester, ProvesKey):
            raise AttesterUnavailable(f"The attester {attester.kind} has no key to prove.")
        return await self._ask(lambda: attester.activate(credential))

    async def open_lock(self, lock: Lock, credential: Credential) -> bytes:
        """Return what a credential for the lock of evidence holds; the caller overwrites it.

        Raises:
            AttesterUnavailable: it does not open, here or now.
        """
        return await self._ask(lambda: lock.open(credential))

    async def _ask(self, work: Callable[[], T], *, within_s: int = COLLECT_S) -> T:
        try:
            async with asyncio.timeout(within_s):
                return await self._thread.run(work)
        except TimeoutError:
            raise AttesterUnavailable(f"The attester gave no answer in {within_s} s.") from None

    def _prove(self, ratchet: Ratchet, nonce: bytes) -> tuple[int, bytes]:
        return ratchet.index, binding.ratchet_mac(ratchet.secret, nonce, self.keys.tls_spki)


def _raw(public: hpke.PublicKey) -> bytes:
    """Return the key without its suite id, which the binding carries beside it (field 7)."""
    return public.encoded.removeprefix(public.suite.id.to_bytes(2, "big"))
