"""From bytes on a connection to claims that are authentic, fresh and bound to that connection.

The checks come in order of cost (F30): sizes, the challenge's MAC, what the binding says, and only
then signatures. docs/specs/evidence-binding.md section 3 numbers them; the numbers stand at the
code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Protocol

from sealward.controlplane.domain import challenge as challenges
from sealward.controlplane.domain.challenge import Challenge
from sealward.controlplane.domain.errors import Code, DomainError, Refused
from sealward.controlplane.domain.horizon import Limit
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.ports import Database, Keystore
from sealward.protos.trust import TrustConfiguration
from sealward.sealing import hpke
from sealward.sealing.errors import SealedModelError
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import errors as verifier_errors
from sealward.verifier.rats.binding import Binding, Purpose
from sealward.verifier.rats.claims import Claims

MAX_EVIDENCE_BYTES: Final = 1 << 20  # a GPU composite with logs stays below; SNP needs 8 KiB
_KEYS_REMEMBERED: Final = 2048  # of 1,218 bytes; a node binds the same one for a day
_MEND: Final = "collect fresh evidence for a fresh challenge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """Evidence as it came in.

    Attributes:
        purpose: what the call accepts it for.
        ticket: of the challenge that it answers.
        binding: the encoded binding.
        evidence: the CMW envelope.
        tls_spki: DER key of the connection, or the key whose proof of possession was checked.
        received: the instant at which the request arrived.
    """

    purpose: Purpose
    ticket: bytes
    binding: bytes
    evidence: bytes
    tls_spki: bytes
    received: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """What a verifier vouches for.

    Attributes:
        claims: typed claims with the verifier's own verdicts.
        bound: the 64 or 32 bytes that the attester put into its evidence.
        limits: instants after which the verification would fail: certificates, lists, collateral.
        verifier_build: which code verified.
        anchors_digest: which trust anchors it used.
    """

    claims: Claims
    bound: bytes
    limits: tuple[Limit, ...]
    verifier_build: str
    anchors_digest: str


class EvidenceVerifier(Protocol):
    """Verifies any kind of evidence it knows; raises VerifierError and nothing else."""

    def verify(self, evidence: bytes, now: datetime) -> Authenticated:
        """Return what the evidence proves at `now`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundEvidence:
    """Authentic evidence that answers a challenge of ours and speaks for the keys in its binding.

    Attributes:
        challenge: the challenge, not yet spent.
        binding: what the attester bound.
        authenticated: what the verifier vouches for.
        evidence: the envelope as received.
        evidence_digest: lower hex SHA-256 of `evidence`.
        claims: the authenticated claims in the form that policies see.
    """

    challenge: Challenge
    binding: Binding
    authenticated: Authenticated
    evidence: bytes
    evidence_digest: str
    claims: ClaimsDocument

    @property
    def hpke_public(self) -> bytes:
        """The bound HPKE key as `hpke.PublicKey.decode` reads it: suite id, raw key."""
        return _hpke_public(self.binding)


class EvidenceGate:
    """Checks presented evidence for one control plane and tenant."""

    def __init__(
        self, *, verifier: EvidenceVerifier, keystore: Keystore, trust: TrustConfiguration
    ) -> None:
        self._verifier = verifier
        self._keystore = keystore
        self._trust = trust
        self._audience = trust.audience()

    def open_challenge(self, presented: Presented) -> Challenge:
        """Return the challenge that `presented` answers: authentic, in date, meant for this call.

        Raises:
            Refused: `challenge_invalid`, `challenge_expired` or what was mismatched. Nothing is
                spent: the challenge was not ours to spend, or it has expired anyway.
        """
        challenge = challenges.open_ticket(presented.ticket, self._verify_mac)
        challenges.require(
            challenge,
            purpose=presented.purpose,
            trust_domain=self._trust.trust_domain,
            tenant=self._trust.tenant,
            requester=bindings.thumbprint(presented.tls_spki),
            now=presented.received,
        )
        return challenge

    def authenticate(self, presented: Presented, challenge: Challenge) -> BoundEvidence:
        """Return bound evidence; the caller MUST spend the challenge whatever comes of it.

        Raises:
            Refused: the first check that failed, with its own code.
        """
        if len(presented.evidence) > MAX_EVIDENCE_BYTES:
            raise Refused(Code.payload_too_large, "the evidence is larger than 1 MiB")
        try:
            binding = Binding.decode(presented.binding)  # (1)
            self._require_consistent(binding, presented, challenge)  # (2) to (6)
            _require_usable(binding)
            authenticated = self._verifier.verify(presented.evidence, presented.received)
            bindings.require_bound(presented.binding, authenticated.bound)  # (7)
        except verifier_errors.VerifierError as error:
            raise refused(error) from error
        return BoundEvidence(
            challenge=challenge,
            binding=binding,
            authenticated=authenticated,
            evidence=presented.evidence,
            evidence_digest=hashlib.sha256(presented.evidence).hexdigest(),
            claims=ClaimsDocument.of(authenticated.claims),
        )

    def _require_consistent(
        self, binding: Binding, presented: Presented, challenge: Challenge
    ) -> None:
        if binding.purpose is not presented.purpose:  # (2)
            raise Refused(Code.purpose_mismatch, "the binding is for another purpose", _MEND)
        if binding.audience != self._audience:  # (3)
            raise Refused(
                Code.audience_mismatch,
                "the binding names another trust domain or server root",
                "give the agent this control plane's trust configuration",
            )
        if binding.tenant != self._trust.tenant:  # (4)
            raise Refused(Code.tenant_mismatch, "the binding is for another tenant", _MEND)
        if binding.tls_spki != presented.tls_spki:  # (5)
            raise Refused(Code.key_mismatch, "the binding speaks for another key", _MEND)
        if binding.nonce != challenge.nonce:  # (6)
            raise Refused(Code.challenge_mismatch, "the binding answers another challenge", _MEND)

    def _verify_mac(self, key_id: str, data: bytes, tag: bytes) -> bool:
        return self._keystore.verify_mac(KeyPurpose.challenge_mac, key_id, data, tag)


def _require_usable(binding: Binding) -> None:
    """Refuse a key that nothing can be sealed to, before anything is granted to it."""
    try:
        _seal_nothing(_hpke_public(binding))
    except SealedModelError as error:
        raise Refused(
            Code.evidence_malformed, f"the bound HPKE key is unusable: {error.detail}", _MEND
        ) from error


@lru_cache(maxsize=_KEYS_REMEMBERED)
def _seal_nothing(public: bytes) -> None:
    """Try a key; SealedModelError. A key that works is remembered: its bytes decide it for good."""
    hpke.seal(hpke.PublicKey.decode(public), b"", b"")


def _hpke_public(binding: Binding) -> bytes:
    return binding.hpke_suite.to_bytes(2, "big") + binding.hpke_public


def spend_after(error: Exception, database: Database, challenge: Challenge) -> None:
    """Spend the challenge of a request that failed with `error`.

    Raises:
        Refused: `challenge_spent`, when a refusal finds it spent already. The request is a replay
            then, and whatever else was found about it says nothing: of course its ratchet is old.
            A fault of ours, which may strike after the commit that spent it, stays what it is.
    """
    try:
        database.write(lambda tx: tx.challenges.spend(challenge.nonce_hash, challenge.expires))
    except Refused as spent:
        if spent.code is not Code.challenge_spent or isinstance(error, DomainError):
            raise


def refused(error: verifier_errors.VerifierError) -> Refused:
    """Return the domain's refusal for what the verifier raised."""
    if isinstance(error, verifier_errors.MalformedEvidence):
        return Refused(Code.evidence_malformed, error.detail, "send what the format allows")
    if error.code is verifier_errors.Code.BINDING_MISMATCH:
        return Refused(Code.binding_mismatch, error.detail, _MEND)
    hint = getattr(error, "hint", None)
    return Refused(Code.evidence_refused, f"{error.code}: {error.detail}", hint or _MEND)
