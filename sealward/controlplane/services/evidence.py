"""From bytes on a connection to claims that are authentic, fresh and bound to that connection.

The checks come in order of cost (F30): sizes, the challenge's MAC, what the binding says, and only
then signatures. docs/specs/evidence-binding.md section 3 numbers them; the numbers stand at the
code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, Protocol

from sealward.controlplane.domain.challenge import Challenge
from sealward.controlplane.domain.errors import Code, DomainError, Refused
from sealward.controlplane.domain.horizon import Limit
from sealward.controlplane.domain.nodes import ReferenceMatch
from sealward.controlplane.services import arm_instances
from sealward.controlplane.services.challenges import ChallengeService
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.collateral_desk import CollateralDesk, Known, Lane
from sealward.controlplane.services.ports import Database, Transaction
from sealward.controlplane.services.refusals import MEND
from sealward.controlplane.services.runtime_logs import ConfirmedLog, MatchableLog, RuntimeLogs
from sealward.controlplane.services.tpm_nodes import TpmNodes, TpmTrust, is_tpm
from sealward.protos.tpm_node import MAX_RUNTIME_LOG
from sealward.protos.trust import TrustConfiguration
from sealward.sealing import hpke
from sealward.sealing.errors import SealedModelError
from sealward.verifier.composite.ima_log import ListPart
from sealward.verifier.composite.tpm_node import Trust
from sealward.verifier.formats.tpm.lock import TpmLock
from sealward.verifier.formats.tpm.quote import VerifiedQuote
from sealward.verifier.pki.instance_keys import InstanceKey
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import errors as verifier_errors
from sealward.verifier.rats.binding import Binding, Purpose, thumbprint
from sealward.verifier.rats.claims import Claims
from sealward.verifier.rats.collateral import NO_COLLATERAL, Source

MAX_EVIDENCE_BYTES: Final = 1 << 20  # a GPU composite with logs stays below; SNP needs 8 KiB
_KEYS_REMEMBERED: Final = 2048  # of 1,218 bytes; a node binds the same one for a day


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
        credential_proof: of a TPM node that enrols (docs/specs/tpm-node.md 3); else empty.
        runtime_log: of a TPM node that sends what its kernel measured; else None.
    """

    purpose: Purpose
    ticket: bytes
    binding: bytes
    evidence: bytes
    tls_spki: bytes
    received: datetime
    credential_proof: bytes = field(default=b"", repr=False)
    runtime_log: ListPart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """What a verifier vouches for.

    Attributes:
        claims: typed claims with the verifier's own verdicts.
        bound: the 64 or 32 bytes that the attester put into its evidence.
        limits: instants after which the verification would fail: certificates, lists, collateral.
        verifier_build: which code verified.
        anchors_digest: which trust anchors it used.
        lock: what keys for a TPM in the quoted state are locked with; None for other evidence, and
            for a TPM node that sent no lock object.
        quote: of a TPM, to hold its runtime log against; None for other evidence.
    """

    claims: Claims
    bound: bytes
    limits: tuple[Limit, ...]
    verifier_build: str
    anchors_digest: str
    lock: TpmLock | None = None
    quote: VerifiedQuote | None = field(default=None, repr=False)


class EvidenceVerifier(Protocol):
    """Verifies any kind of evidence it knows; raises VerifierError and nothing else."""

    def verify(
        self,
        evidence: bytes,
        now: datetime,
        tpm: Trust | None = None,
        collateral: Source = NO_COLLATERAL,
        keys: tuple[InstanceKey, ...] = (),
    ) -> Authenticated:
        """Return what the evidence proves at `now`.

        Without `tpm`, that of a TPM is refused; without its instance's key, that of Arm is.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundEvidence:
    """Authentic evidence that answers a challenge of ours and speaks for the keys in its binding.

    Attributes:
        challenge: the challenge, not yet spent.
        binding: what the attester bound.
        authenticated: what the verifier vouches for.
        evidence: the envelope as received.
        evidence_digest: lower hex SHA-256 of `evidence`.
        claims: the authenticated claims in the form that policies see, nothing of the runtime log
            known yet: what it measured is matched when facts are read (facts.py).
        epochs: fence values under which the evidence was verified, beside those that a decision
            reads itself: evidence that they have left behind has to be verified again.
        runtime_log: as far as the quote proves it; None for a node that never sent one.
        collateral: the keys that verification asked for, whether or not anything was held.
    """

    challenge: Challenge
    binding: Binding
    authenticated: Authenticated
    evidence: bytes
    evidence_digest: str
    claims: ClaimsDocument
    epochs: Mapping[str, int]
    runtime_log: ConfirmedLog | None
    collateral: tuple[ReferenceMatch, ...] = ()

    @property
    def measured(self) -> MatchableLog | None:
        """What the runtime log measured, to be matched with reference values."""
        return None if self.runtime_log is None else self.runtime_log.log

    @property
    def proven_entries(self) -> int:
        """How many entries of the runtime log are proven; 0 without one."""
        return 0 if self.runtime_log is None else self.runtime_log.entries

    @property
    def hpke_public(self) -> bytes:
        """The bound HPKE key as `hpke.PublicKey.decode` reads it: suite id, raw key."""
        return _hpke_public(self.binding)


class EvidenceGate:
    """Checks presented evidence for one control plane and tenant."""

    def __init__(
        self,
        *,
        database: Database,
        verifier: EvidenceVerifier,
        challenges: ChallengeService,
        tpm: TpmNodes,
        runtime_logs: RuntimeLogs,
        collateral: CollateralDesk,
        trust: TrustConfiguration,
    ) -> None:
        self._database = database
        self._verifier = verifier
        self._challenges = challenges
        self._tpm = tpm
        self._runtime_logs = runtime_logs
        self._collateral = collateral
        self._trust = trust
        self._audience = trust.audience()

    def open_challenge(self, presented: Presented) -> Challenge:
        """Return the challenge that `presented` answers: authentic, in date, meant for this call.

        Raises:
            Refused: `challenge_invalid`, `challenge_expired` or what was mismatched. Nothing is
                spent: the challenge was not ours to spend, or it has expired anyway.
        """
        return self._challenges.open(
            presented.ticket,
            purpose=presented.purpose,
            tls_spki=presented.tls_spki,
            now=presented.received,
        )

    def authenticate(
        self, presented: Presented, challenge: Challenge, *, known: Known
    ) -> BoundEvidence:
        """Return bound evidence; the caller MUST spend the challenge whatever comes of it.

        `known` tells whether collateral that is missing may be fetched for this caller (F30).

        Raises:
            Refused: the first check that failed, with its own code.
            Unavailable: collateral_pending, what the evidence needs is being fetched.
        """
        if len(presented.evidence) > MAX_EVIDENCE_BYTES:
            raise Refused(Code.payload_too_large, "the evidence is larger than 1 MiB")
        if presented.runtime_log and len(presented.runtime_log.data) > MAX_RUNTIME_LOG:
            raise Refused(
                Code.payload_too_large,
                "the runtime log is larger than 3 MiB",
                "measure less: dont_measure in the kernel's IMA policy",
            )
        collateral = self._collateral.view()
        try:
            binding = Binding.decode(presented.binding)  # (1)
            self._require_consistent(binding, presented, challenge)  # (2) to (6)
            _require_usable(binding)
            tpm = self._tpm_trust(presented, challenge)
            arm = arm_instances.trust(self._database, presented.evidence)
            authenticated = self._verifier.verify(
                presented.evidence,
                presented.received,
                None if tpm is None else tpm.trust,
                collateral,
                arm.keys,
            )
            bindings.require_bound(presented.binding, authenticated.bound)  # (7)
            log = self._runtime_log(presented, authenticated)
        except verifier_errors.VerifierError as error:
            lane = Lane.joining if presented.purpose is Purpose.ENROLL else Lane.renewal
            who = thumbprint(presented.tls_spki).hex()
            raise self._collateral.refusal(error, known, lane, who) from error
        if presented.purpose is Purpose.ATTEST:
            self._collateral.wish(collateral, thumbprint(presented.tls_spki).hex())
        claims = ClaimsDocument.of(authenticated.claims)
        return BoundEvidence(
            challenge=challenge,
            binding=binding,
            authenticated=authenticated,
            evidence=presented.evidence,
            evidence_digest=hashlib.sha256(presented.evidence).hexdigest(),
            claims=claims if log is None else claims.with_ima(log.log.log.to_json()),
            epochs={**({} if tpm is None else tpm.epochs), **arm.epochs, **collateral.epochs},
            runtime_log=log,
            collateral=collateral.matches,
        )

    def _tpm_trust(self, presented: Presented, challenge: Challenge) -> TpmTrust | None:
        """Return what TPM evidence is verified under; None, and no cost, for any other."""
        if not is_tpm(presented.evidence):
            if presented.credential_proof:
                raise Refused(
                    Code.invalid_request,
                    "a proof of a credential came with evidence that is not a TPM's",
                    "send none",
                )
            if presented.runtime_log is not None:
                raise Refused(
                    Code.invalid_request,
                    "a runtime log came with evidence that is not a TPM's",
                    "send none: nothing in this evidence proves it",
                )
            return None
        if presented.purpose is Purpose.ATTEST:
            return self._tpm.attesting(presented.tls_spki)
        return self._tpm.enrolling(
            presented.evidence,
            nonce=challenge.nonce,
            binding=presented.binding,
            proof=presented.credential_proof,
        )

    def _runtime_log(
        self, presented: Presented, authenticated: Authenticated
    ) -> ConfirmedLog | None:
        """Return the runtime log as far as the quote proves it; no cost but for a TPM node."""
        if authenticated.quote is None:
            return None
        return self._runtime_logs.confirm(
            presented.runtime_log,
            authenticated.quote,
            node_id=thumbprint(presented.tls_spki).hex(),
            now=presented.received,
        )

    def _require_consistent(
        self, binding: Binding, presented: Presented, challenge: Challenge
    ) -> None:
        if binding.purpose is not presented.purpose:  # (2)
            raise Refused(Code.purpose_mismatch, "the binding is for another purpose", MEND)
        if binding.audience != self._audience:  # (3)
            raise Refused(
                Code.audience_mismatch,
                "the binding names another trust domain or server root",
                "give the agent this control plane's trust configuration",
            )
        if binding.tenant != self._trust.tenant:  # (4)
            raise Refused(Code.tenant_mismatch, "the binding is for another tenant", MEND)
        if binding.tls_spki != presented.tls_spki:  # (5)
            raise Refused(Code.key_mismatch, "the binding speaks for another key", MEND)
        if binding.nonce != challenge.nonce:  # (6)
            raise Refused(Code.challenge_mismatch, "the binding answers another challenge", MEND)


def _require_usable(binding: Binding) -> None:
    """Refuse a key that nothing can be sealed to, before anything is granted to it."""
    try:
        _seal_nothing(_hpke_public(binding))
    except SealedModelError as error:
        raise Refused(
            Code.evidence_malformed, f"the bound HPKE key is unusable: {error.detail}", MEND
        ) from error


@lru_cache(maxsize=_KEYS_REMEMBERED)
def _seal_nothing(public: bytes) -> None:
    """Try a key; SealedModelError. A key that works is remembered: its bytes decide it for good."""
    hpke.seal(hpke.PublicKey.decode(public), b"", b"")


def _hpke_public(binding: Binding) -> bytes:
    return binding.hpke_suite.to_bytes(2, "big") + binding.hpke_public


def spend_after(
    error: Exception,
    database: Database,
    challenge: Challenge,
    note: Callable[[Transaction], None],
) -> None:
    """Spend the challenge of a request that failed with `error`, and note why it failed.

    Raises:
        Refused: `challenge_spent`, when a refusal finds it spent already. The request is a replay
            then, and whatever else was found about it says nothing: of course its ratchet is old.
            A fault of ours, which may strike after the commit that spent it, stays what it is.
    """

    def write(tx: Transaction) -> None:
        tx.challenges.spend(challenge.nonce_hash, challenge.expires)
        note(tx)

    try:
        database.write(write)
    except Refused as spent:
        if spent.code is not Code.challenge_spent or isinstance(error, DomainError):
            raise
