"""What this agent holds: leases, keys, models; and what verified terms do to them.

The order, for an answer and for a revocation alike:

1. the terms are verified (rule 1) and accepted by the lease book (rules 2 to 4, 6, 7): from this
   instant the gate refuses what ended; the ratchet moves;
2. content keys that no lease covers any more are wiped;
3. their models are stopped and wiped, all at once;
4. a signed statement says so;
5. keys that came along are opened and kept (rule 5).

Steps 1 and 2 happen without a suspension, so no other task sees half of them, and each statement
names exactly what its own cause took away. Steps 3 and 4 run as a task of their own: a connection
that breaks does not interrupt a wipe. Step 5 waits for nobody but for a TPM that has to open a lock
first (`take_keys`): what ends, ends before it, and keys whose lease ended meanwhile are not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from sealward.enclave_agent.clock import BootClock
from sealward.enclave_agent.evidence import BoundEvidence, Ratchet
from sealward.enclave_agent.gate import BookGate
from sealward.enclave_agent.grants import (
    WrapCode,
    WrapRefused,
    layer_within,
    open_content_key,
    open_ratchet,
)
from sealward.enclave_agent.identity import InstanceKeys
from sealward.enclave_agent.leases import (
    HeldLease,
    LeaseBook,
    Outcome,
    TermsCode,
    TermsRefused,
)
from sealward.enclave_agent.messages import AttestAnswer
from sealward.enclave_agent.models import ModelKeeper, Wiped
from sealward.enclave_agent.statements import StatementDesk
from sealward.protos import terms
from sealward.protos.terms import ModelTerms, VerifiedTerms
from sealward.protos.tpm_node import LockKey
from sealward.protos.trust import TrustConfiguration
from sealward.protos.wipe import WipeCause
from sealward.sealing.memory import wipe
from sealward.telemetry import get_logger
from sealward.verifier.rats.errors import VerifierError

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TakenAnswer:
    """An answer whose terms are accepted, and whose keys are not opened yet.

    Attributes:
        outcome: what the terms did.
        digest: of the terms.
        answer: as it came.
        sent: the evidence that it answers.
    """

    outcome: Outcome
    digest: bytes
    answer: AttestAnswer = field(repr=False)
    sent: BoundEvidence = field(repr=False)


class Holdings:
    """The one place where terms, keys, models and statements meet."""

    def __init__(
        self,
        *,
        trust: TrustConfiguration,
        keys: InstanceKeys,
        book: LeaseBook,
        gate: BookGate,
        keeper: ModelKeeper,
        desk: StatementDesk,
        clock: BootClock,
    ) -> None:
        self._trust: Final = trust
        self._keys: Final = keys
        self._book: Final = book
        self._gate: Final = gate
        self._keeper: Final = keeper
        self._desk: Final = desk
        self._clock: Final = clock
        self._settling: set[asyncio.Task[None]] = set()
        self._ratchet: Ratchet | None = None
        self._stopped = False

    @property
    def ratchet(self) -> Ratchet | None:
        """The secret that the next attestation proves to hold; None before the first answer."""
        return self._ratchet

    @property
    def stopped(self) -> bool:
        """Whether everything was ended for good: nothing more is to be asked for."""
        return self._stopped

    def held_leases(self) -> tuple[bytes, ...]:
        """Return ids of leases that are live now and whose keys are here.

        To the control plane the others have ended: it grants new leases in their place.
        """
        return tuple(
            lease.lease_id
            for lease in self._book.live(self._clock())
            if not self._keeper.missing(self._runnable(lease))
        )

    def lacks(self, outcome: Outcome) -> bool:
        """Say whether something that these terms grant, and that lasts, is not to be had here.

        A lease was refused alone, or a content key did not come or open: only another attestation
        can mend that.
        """
        here = self.held_leases()
        lasting = {lease.lease_id for lease in self._book.live(self._clock())}
        granted = (lease.lease_id for lease in outcome.held)
        return bool(outcome.refused) or any(
            lease in lasting and lease not in here for lease in granted
        )

    def open_models(self) -> tuple[bytes, ...]:
        """Return the header digests of the models that run."""
        return tuple(dict.fromkeys(model.header_digest for model in self._keeper.running()))

    def take_answer(
        self, answer: AttestAnswer, sent: BoundEvidence, *, sent_ns: int
    ) -> TakenAnswer:
        """Use the terms of the answer to the attestation that left after `sent_ns`.

        The caller goes on with `take_keys`.

        Raises:
            TermsRefused: the terms were dropped; nothing changed.
        """
        if self._stopped:
            raise TermsRefused(TermsCode.STALE, "the agent is stopping")
        verified = self._verify(answer.signed_terms)
        self.expire()  # what ended by itself is not what these terms end
        now_ns = self._clock()
        outcome = self._book.accept_grant(
            verified, nonce=sent.challenge.nonce, sent_ns=sent_ns, now_ns=now_ns
        )
        if answer.ratchet is not None:
            self._take_ratchet(answer.ratchet, sent, verified)
        self._settle(WipeCause.REVOKED, outcome.ended, sequence=outcome.sequence, since_ns=now_ns)
        self._report(outcome)
        return TakenAnswer(outcome, verified.digest, answer, sent)

    def take_keys(self, taken: TakenAnswer, *, lock_secret: bytes | None = None) -> None:
        """Open and keep the content keys of an answer, as far as they are still leased.

        `lock_secret` is what the lock of that evidence gave out for the answer, where both have one
        and it opened; the caller overwrites it.
        """
        if self._stopped or not taken.answer.content_keys:
            return
        self.expire()
        try:
            layer = layer_within(
                taken.answer, taken.sent, secret=lock_secret, terms_digest=taken.digest
            )
        except WrapRefused as refused:
            self._note_refused_key(refused.code, taken)
            return
        for index, wrapped in enumerate(taken.answer.content_keys):
            self._take_key(wrapped, taken, layer, index)
        self._spawn(self._keeper.open_kept())

    def take_revocation(self, signed_terms: bytes) -> Outcome:
        """Use terms that the control plane pushed.

        Raises:
            TermsRefused: the terms were dropped; nothing changed.
        """
        verified = self._verify(signed_terms)
        self.expire()  # as above
        now_ns = self._clock()
        outcome = self._book.accept_revocation(verified, now_ns=now_ns)
        self._settle(WipeCause.REVOKED, outcome.ended, sequence=outcome.sequence, since_ns=now_ns)
        self._report(outcome)
        return outcome

    def expire(self) -> tuple[HeldLease, ...]:
        """End and wipe what has reached its horizon."""
        now_ns = self._clock()
        ended = self._book.expire(now_ns)
        if ended:
            since_ns = min(now_ns, *(lease.horizon_ns for lease in ended))
            self._settle(WipeCause.HORIZON, ended, sequence=None, since_ns=since_ns)
        return ended

    async def reopen(self) -> None:
        """Open again what should run and does not."""
        await self._keeper.open_kept()

    async def stop(self) -> None:
        """End everything, wipe it and state so; return when it is done."""
        self._stopped = True
        since_ns = self._clock()
        self._settle(WipeCause.SHUTDOWN, self._book.end_all(), sequence=None, since_ns=since_ns)
        await self.settled()

    async def settled(self) -> None:
        """Return when no wipe is under way."""
        while self._settling:
            await asyncio.wait(tuple(self._settling))

    def _covered(self) -> tuple[ModelTerms, ...]:
        """Return the models that leases cover and no terms have outdated."""
        return tuple(model for lease in self._book.held() for model in self._runnable(lease))

    def _runnable(self, lease: HeldLease) -> tuple[ModelTerms, ...]:
        return tuple(model for model in lease.models if self._book.may_run(lease.workload, model))

    def _verify(self, signed_terms: bytes) -> VerifiedTerms:
        try:
            return terms.verify(
                signed_terms,
                keys=self._trust.terms_keys,
                trust_domain=self._trust.trust_domain,
                tenant=self._trust.tenant,
                node=self._keys.node,
            )
        except VerifierError as error:
            raise TermsRefused(TermsCode.UNTRUSTED, f"{error.code}: {error.detail}") from error

    def _take_key(
        self, wrapped: bytes, taken: TakenAnswer, layer: LockKey | None, index: int
    ) -> None:
        """Open one key. It is for a lease of these terms; what later terms left of it counts."""
        granted = {lease.lease_id for lease in taken.outcome.held}
        try:
            opened = open_content_key(
                wrapped,
                hpke_key=taken.sent.hpke_key,
                terms_digest=taken.digest,
                leases=[lease for lease in self._book.held() if lease.lease_id in granted],
                layer=layer,
                index=index,
            )
        except WrapRefused as refused:
            self._note_refused_key(refused.code, taken)
            return
        if opened.model in self._covered():
            self._keeper.take_key(opened)
        else:
            wipe(opened.key)
            self._note_refused_key(WrapCode.NOT_LEASED, taken)

    def _note_refused_key(self, code: WrapCode, taken: TakenAnswer) -> None:
        _log.error("content key refused", code=code, sequence=taken.outcome.sequence)

    def _take_ratchet(self, wrapped: bytes, sent: BoundEvidence, verified: VerifiedTerms) -> None:
        try:
            self._ratchet = open_ratchet(
                wrapped, hpke_key=sent.hpke_key, terms_digest=verified.digest
            )
        except WrapRefused as refused:  # the last one stays good for one more attestation
            _log.error("ratchet refused", code=refused.code)

    def _settle(
        self,
        cause: WipeCause,
        ended: tuple[HeldLease, ...],
        *,
        sequence: int | None,
        since_ns: int,
    ) -> None:
        self._gate.note_ended(ended, cause)
        # A renewal can drop one model of a lease that goes on: the statement then names the
        # leases that are still held here, as a statement names at least one.
        leases = tuple(lease.lease_id for lease in ended or self._book.held())
        wiping = self._keeper.keep_only(self._covered(), f"lease ended: {cause}")
        self._spawn(
            self._wipe(
                cause, leases, wiping, stated=bool(ended), sequence=sequence, since_ns=since_ns
            )
        )
        self._spawn(self._keeper.open_kept())

    async def _wipe(
        self,
        cause: WipeCause,
        leases: tuple[bytes, ...],
        wiping: Coroutine[Any, Any, Wiped],
        *,
        stated: bool,
        sequence: int | None,
        since_ns: int,
    ) -> None:
        wiped = await wiping
        if not leases or not (stated or wiped.items):
            return
        self._desk.state(cause, leases, wiped, sequence=sequence, since_ns=since_ns)
        _log.warning(
            "wiped",
            cause=cause,
            leases=[lease.hex() for lease in leases],
            models=[f"{item.model}/{item.version}" for item in wiped.items],
            workers=[f"{item.worker_pid}: {item.exit_status}" for item in wiped.items],
            weight_bytes=sum(item.weight_bytes for item in wiped.items),
            elapsed_ms=(self._clock() - since_ns) // 1_000_000,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("a wipe failed", error=repr(error))

    def _report(self, outcome: Outcome) -> None:
        for lease in outcome.held:
            _log.info(
                "lease held",
                lease=lease.lease_id.hex(),
                workload=lease.workload,
                sequence=outcome.sequence,
                remaining_ms=(lease.horizon_ns - self._clock()) // 1_000_000,
                limited_by=lease.cause,
            )
        for lease in outcome.ended:
            _log.warning("lease ended", lease=lease.lease_id.hex(), workload=lease.workload)
        for refusal in outcome.refused:
            _log.error(
                "lease refused by this agent",
                lease=refusal.lease_id.hex(),
                workload=refusal.workload,
                code=refusal.code,
            )
