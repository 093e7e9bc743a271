"""One connection to the control plane: the stream, and the attestations made while it is open.

Its tasks end together: one reads the stream, one writes wipe statements, one asks for challenges,
one answers them, and where the attester can tell, one watches that what it attested is still so. A
session ends by raising what ended it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from grpc import aio

import sealward
from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.enclave_agent.certificate import NodeCertificate, read_certificate
from sealward.enclave_agent.clock import NS_PER_S, BootClock, clock_source
from sealward.enclave_agent.enrollment import describe, runtime_log
from sealward.enclave_agent.evidence import BoundEvidence, EvidenceMaker
from sealward.enclave_agent.holdings import Holdings, TakenAnswer
from sealward.enclave_agent.identity import HpkeKeyring
from sealward.enclave_agent.leases import LeaseBook, TermsRefused
from sealward.enclave_agent.messages import (
    PROTOCOL_VERSION,
    AttestAnswer,
    Challenge,
    Denial,
    ProtocolViolation,
    read_challenge,
    read_digest,
)
from sealward.enclave_agent.pacing import Pacing
from sealward.enclave_agent.standing import Standing
from sealward.enclave_agent.statements import StatementDesk
from sealward.enclave_agent.transport import (
    AgentClient,
    CallFailed,
    Refused,
    Stream,
    Unreachable,
    translated,
)
from sealward.protos import agent_pb2
from sealward.sealing.memory import take_secret
from sealward.telemetry import correlated, get_logger, new_correlation_id
from sealward.verifier.rats.binding import AgentStatement, Purpose

WATCH_S: Final = 1.0  # docs/specs/tpm-node.md, section 5
LOOK_S: Final = 0.25  # how often the asker looks at the boot-time clock, which no timer follows
FINISH_S: Final = 5.0  # for an attestation whose answer may hold keys, when the stream breaks

# The control plane does not admit this node (any more), or not with this certificate. Not among
# them: `clone_detected`, which an operator decides; enrolling again would hide it.
NOT_ADMITTED: Final = frozenset(
    {"node_pending", "node_rejected", "node_retired", "unauthenticated", "channel_mismatch"}
)
UNKNOWN: Final = frozenset({"node_unknown", "not_found"})
RUNTIME_LOG_GAP: Final = "runtime_log_gap"  # it has less of the runtime log than was thought
T = TypeVar("T")
_log = get_logger(__name__)


class EnrollAgain(Exception):
    """This node must be enrolled again before anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParts:
    """What a session works with; everything outlives it."""

    maker: EvidenceMaker
    keyring: HpkeKeyring
    book: LeaseBook
    holdings: Holdings
    desk: StatementDesk
    standing: Standing
    pacing: Pacing
    clock: BootClock
    workloads: tuple[str, ...]
    result_audience: str = ""


class Session:
    """See the module.

    Attributes:
        heard: whether the control plane said anything on this connection.
    """

    def __init__(self, client: AgentClient, parts: SessionParts) -> None:
        self.heard = False
        self._client: Final = client
        self._parts: Final = parts
        self._challenge: Challenge | None = None
        self._challenged: Final = asyncio.Event()
        self._attesting = False
        self._in_flight: asyncio.Task[NodeCertificate | None] | None = None
        self._writing: Final = asyncio.Lock()
        self._accepted = False
        self._told: dict[bytes, None] = {}  # statements, on this stream; the next is told again

    async def run(self) -> NodeCertificate:
        """Serve the connection until a fresh certificate asks for another one, and return that.

        Raises:
            Unreachable: the connection is of no further use.
            Refused: the control plane refuses the stream, or does not know this node.
            EnrollAgain: it does not admit this node.
        """
        stream = self._client.watch()
        try:
            await self._say(stream, agent_pb2.AgentMessage(hello=self._hello()))
            self._parts.standing.connected = True
            return await _first(
                self._read(stream),
                self._tell(stream),
                self._ask(stream),
                self._answer(),
                *([self._watch()] if self._parts.maker.watches else []),
            )
        except Unreachable:
            await self._finish()
            raise
        except Refused:
            self._note_refused_statement()
            raise
        finally:
            if self._in_flight is not None:
                self._in_flight.cancel()
            self._parts.standing.connected = False
            stream.cancel()

    async def _finish(self) -> None:
        """Wait for the answer that is on its way, and use it.

        One that is lost all the same costs nothing: the control plane accepts the ratchet that was
        used last as well as the one it issued (docs/specs/evidence-binding.md 4).

        Raises:
            EnrollAgain: the answer is that this node is not admitted.
        """
        if self._in_flight is not None:
            with contextlib.suppress(CallFailed, TimeoutError):
                async with asyncio.timeout(FINISH_S):
                    certificate = await self._in_flight
                if certificate is not None:
                    self._parts.standing.certificate = certificate

    def _hello(self) -> agent_pb2.Hello:
        return agent_pb2.Hello(
            protocol_version=PROTOCOL_VERSION,
            highest_sequence=self._parts.book.highest_sequence,
            held=[
                agent_pb2.HeldLease(lease_id=lease) for lease in self._parts.holdings.held_leases()
            ],
        )

    async def _say(self, stream: Stream, message: agent_pb2.AgentMessage) -> None:
        with translated():
            async with self._writing:
                await stream.write(message)

    async def _read(self, stream: Stream) -> NoReturn:
        with translated():
            await stream.wait_for_connection()  # the control plane accepted the certificate
            self._accepted = True
            self._parts.standing.reached()
            while True:
                message = await stream.read()
                if message is aio.EOF or not isinstance(message, agent_pb2.ServerMessage):
                    raise Unreachable(f"the stream ended: {(await stream.code()).name.lower()}")
                self.heard = True
                self._take(message)

    def _take(self, message: agent_pb2.ServerMessage) -> None:
        match message.WhichOneof("message"):
            case "challenge":
                # A newer challenge replaces one that nobody has begun to answer.
                self._challenge = read_challenge(message.challenge, now_ns=self._parts.clock())
                self._challenged.set()
            case "terms":
                self._take_revocation(message.terms)
            case "wipe_recorded":
                self._parts.desk.recorded(read_digest(message.wipe_recorded))
            case _:
                raise ProtocolViolation("a message of a kind that this agent does not know")

    def _take_revocation(self, signed_terms: bytes) -> None:
        parts = self._parts
        try:
            outcome = parts.holdings.take_revocation(signed_terms)
        except TermsRefused as refused:
            _log.warning("pushed terms dropped", code=refused.code, why=str(refused))
            return
        live = bool(parts.book.live(parts.clock()))
        parts.standing.drained(live=live)
        if outcome.ended and not live:
            parts.pacing.failed(parts.clock())  # whoever was revoked need not ask at once

    async def _tell(self, stream: Stream) -> NoReturn:
        while True:
            for statement in self._parts.desk.waiting():
                if statement not in self._told:
                    self._told[statement] = None
                    wiped = agent_pb2.WipeStatement(statement=statement)
                    await self._say(stream, agent_pb2.AgentMessage(wiped=wiped))
            await self._parts.desk.changed()

    def _note_refused_statement(self) -> None:
        """Tell the desk which statement may be why an accepted stream was refused: the oldest.

        They are recorded in the order in which they are told.
        """
        waiting = self._parts.desk.waiting()
        suspect = next((statement for statement in self._told if statement in waiting), None)
        if self._accepted and suspect is not None:
            self._parts.desk.refused(suspect)

    async def _ask(self, stream: Stream) -> NoReturn:
        parts = self._parts
        while True:
            now_ns = parts.clock()
            left_s = (parts.pacing.ask_at_ns() - now_ns) / NS_PER_S
            busy = self._challenge is not None or self._attesting
            if left_s > 0 or busy or parts.holdings.stopped:
                await asyncio.sleep(min(max(left_s, 0.01), LOOK_S))
                continue
            parts.pacing.asked(now_ns)
            wanted = agent_pb2.ChallengeWanted()
            await self._say(stream, agent_pb2.AgentMessage(challenge_wanted=wanted))

    async def _watch(self) -> NoReturn:
        """Have the asker ask at once when the state changed, or can no longer be told.

        Either way the next evidence decides: an attester in doubt gives none, and leases then end
        at their horizon.
        """
        parts, known = self._parts, ""
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                found = "changed since the last evidence" if await parts.maker.changed() else ""
            except AttesterUnavailable as error:
                found = f"in doubt: {error}"
            if found:
                parts.pacing.at_once()
            if found and found != known:
                _log.warning("this machine's state is not as attested", why=found)
            known = found

    async def _answer(self) -> NodeCertificate:
        while True:
            await self._challenged.wait()
            self._challenged.clear()
            challenge, self._challenge = self._challenge, None
            if challenge is None or self._parts.clock() >= challenge.expires_ns:
                continue
            if self._parts.holdings.stopped:  # a lease would be granted that nobody holds
                continue
            self._attesting = True  # evidence included: it may take long, and needs no other
            try:
                with correlated(new_correlation_id()):
                    certificate = await self._attest(challenge)
            finally:
                self._attesting = False
            if certificate is not None:
                return certificate

    async def _attest(self, challenge: Challenge) -> NodeCertificate | None:
        """Answer one challenge; return a fresh certificate if one came along."""
        parts = self._parts
        try:
            bound = await self._evidence(challenge)
        except AttesterUnavailable as error:
            _log.error("no evidence can be had", why=str(error))
            parts.pacing.failed(parts.clock())
            return None
        # A task of its own: when the stream breaks, an answer that is on its way is still used.
        self._in_flight = asyncio.create_task(self._exchange(bound))
        try:
            return await asyncio.shield(self._in_flight)
        finally:
            if self._in_flight.done():  # else it is `_finish` that waits for it
                self._in_flight = None

    async def _exchange(self, bound: BoundEvidence) -> NodeCertificate | None:
        """Send evidence and use the answer; return a fresh certificate if it carried one."""
        parts = self._parts
        sent_ns = parts.clock()  # rule 4: read before the request leaves
        try:
            answer = await self._client.attest(self._request(bound))
        except Refused as refused:
            self._denied(refused)
            return None
        except Unreachable:
            parts.pacing.unsettled(parts.clock())  # it may have granted what is not known here
            raise
        self.heard = True
        parts.maker.runtime_log.proven = answer.runtime_log_next
        parts.standing.attestation_result = answer.attestation_result
        await self._take_answer(answer, bound, sent_ns)
        if not answer.chain:
            return None
        with translated():
            return read_certificate(
                answer.chain, tls_spki=parts.maker.keys.tls_spki, sent_ns=sent_ns
            )

    async def _open_lock(self, answer: AttestAnswer, bound: BoundEvidence) -> bytes | None:
        """Return what opens the layer within the content keys; None where it is not to be had."""
        if answer.lock is None or bound.lock is None:
            return None
        try:
            return await self._parts.maker.open_lock(bound.lock, answer.lock)
        except AttesterUnavailable as error:
            _log.error("the lock of the content keys did not open", why=str(error))
            return None

    async def _take_answer(self, answer: AttestAnswer, bound: BoundEvidence, sent_ns: int) -> None:
        """Obey the answer, and only then have its keys opened, which may take a TPM a while."""
        parts = self._parts
        taken = None
        if answer.signed_terms:  # else nothing is granted or held: nothing is signed or wrapped
            try:
                taken = parts.holdings.take_answer(answer, bound, sent_ns=sent_ns)
            except TermsRefused as refused:
                _log.warning("terms dropped", code=refused.code, why=str(refused))
                parts.pacing.unsettled(parts.clock())
                parts.standing.drained(live=bool(parts.book.live(parts.clock())))
                return
        self._answered(answer)
        if taken is not None:
            await self._take_keys(taken)
        self._pace(answer, lacks=taken is not None and parts.holdings.lacks(taken.outcome))

    async def _take_keys(self, taken: TakenAnswer) -> None:
        if taken.answer.lock is not None:  # should this end while the TPM works, they are missing
            self._parts.pacing.at_once()
        lock_secret = await self._open_lock(taken.answer, taken.sent)
        try:
            self._parts.holdings.take_keys(taken, lock_secret=lock_secret)
        finally:
            take_secret(lock_secret or b"")  # for its overwriting; nobody else refers to it

    def _answered(self, answer: AttestAnswer) -> None:
        parts = self._parts
        live = bool(parts.book.live(parts.clock()))
        parts.standing.answered(live=live, denial=answer.denial)
        for workload, denial in answer.refused:
            _log.warning("workload refused", workload=workload, **_fields(denial))
        if answer.denial is not None:
            _log.warning("not compliant", posture=answer.posture, **_fields(answer.denial))

    def _pace(self, answer: AttestAnswer, *, lacks: bool) -> None:
        parts = self._parts
        now_ns = parts.clock()
        live = bool(parts.book.live(now_ns))
        if lacks:
            parts.pacing.unsettled(now_ns)
        elif live and answer.denial is None:
            parts.pacing.granted(now_ns)
        else:
            parts.pacing.failed(now_ns, again_s=answer.again_s)

    def _denied(self, refused: Refused) -> None:
        """Take note of an attestation that was refused outright.

        Raises:
            EnrollAgain: the control plane does not admit this node.
            Refused: it has never heard of it.
        """
        parts = self._parts
        denial = Denial(code=refused.code, correlation_id=refused.correlation_id)
        _log.warning("attestation refused", **_fields(denial))
        if refused.code == RUNTIME_LOG_GAP:
            parts.maker.runtime_log.proven = 0  # the next evidence goes with all of it
            parts.pacing.unsettled(parts.clock())
        else:
            parts.pacing.failed(parts.clock())
        parts.standing.denied(denial, live=bool(parts.book.live(parts.clock())))
        if refused.code in UNKNOWN:
            raise refused
        if refused.code in NOT_ADMITTED:
            raise EnrollAgain

    async def _evidence(self, challenge: Challenge) -> BoundEvidence:
        parts = self._parts
        return await parts.maker.make(
            Purpose.ATTEST,
            challenge,
            hpke_key=parts.keyring.current(parts.clock()),
            statement=AgentStatement(
                agent_version=sealward.__version__,
                clock_source=clock_source(),
                held_leases=parts.holdings.held_leases(),
                open_models=parts.holdings.open_models(),
            ),
            ratchet=parts.holdings.ratchet,
        )

    def _request(self, bound: BoundEvidence) -> agent_pb2.AttestRequest:
        audience = self._parts.result_audience
        return agent_pb2.AttestRequest(
            protocol_version=PROTOCOL_VERSION,
            ticket=bound.challenge.ticket,
            binding=bound.binding,
            evidence=bound.evidence,
            workloads=self._parts.workloads,
            agent=describe(self._parts.maker),
            runtime_log=runtime_log(bound),
            result=agent_pb2.ResultRequest(audience=audience) if audience else None,
        )


def _fields(denial: Denial) -> dict[str, str]:
    return {"code": denial.code, "quote": denial.correlation_id}


async def _first(*works: Coroutine[Any, Any, T]) -> T:
    """Return what the first of `works` to end returns or raises; end the others."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return next(task for task in tasks if task in done).result()
