"""The agent listener: mutual TLS with the certificate that enrolment issued.

`Watch` is the open stream. It pushes a challenge when renewal is due and revocation terms as soon
as they are committed. What it pushes comes from the database; a bell only makes it quick.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, NoReturn

import structlog

from sealward.controlplane.domain import node_words
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.leases import SignedTerms
from sealward.controlplane.rpc.calls import (
    Desk,
    Lane,
    agent_version,
    credential_message,
    list_part,
    require_protocol,
    require_purpose,
)
from sealward.controlplane.rpc.errors import abort
from sealward.controlplane.rpc.peer import Context, Peer, peer_of
from sealward.controlplane.rpc.streams import StreamBells
from sealward.controlplane.services.admitted import require_admitted
from sealward.controlplane.services.attestation import AttestationService
from sealward.controlplane.services.attestation_call import AttestAnswer, AttestCall
from sealward.controlplane.services.attestation_results import ResultRequest
from sealward.controlplane.services.evidence import Presented
from sealward.controlplane.services.ports import Database
from sealward.controlplane.services.wipes import WipeService
from sealward.protos import agent_pb2, agent_pb2_grpc
from sealward.protos.terms import TermsKind
from sealward.verifier.rats.binding import Purpose, thumbprint

# The floor under lost bells, which every writer of this process rings; also how late a change of a
# stream's own renewal plan may be noticed: an agent asks by itself when its challenge is late.
POLL_S: Final = 5.0
RENEWAL_JITTER: Final = 0.1  # renewals of a fleet that started together spread over this share
_PUSHED_AT_ONCE: Final = 64
_ATTESTING_AT_ONCE: Final = 2  # of one node: the second where a lost connection left one behind
_MESSAGE_PAUSE_S: Final = 0.05  # between two messages of one stream: no node crowds out another
_MAX_SEQUENCE: Final = (1 << 63) - 1  # what the database column holds

_log = structlog.get_logger(__name__)


class AgentListener(agent_pb2_grpc.AgentServicer):
    """Translates between messages and services; decides nothing.

    Args:
        pushes: threads for reading what is to be pushed; decisions never keep a revocation waiting.
        jitter: returns a number in 0..1, for spreading renewals.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        attestation: AttestationService,
        wipes: WipeService,
        database: Database,
        bells: StreamBells,
        pushes: Lane,
        jitter: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._pushes = pushes
        self._attestation = attestation
        self._wipes = wipes
        self._database = database
        self._bells = bells
        self._jitter = jitter
        self._attesting: Counter[str] = Counter()
        self._renewals: dict[str, datetime] = {}  # when this process means to push a challenge next

    async def _abort(
        self, context: Context, error: Exception, call: str, correlation_id: str
    ) -> NoReturn:
        count = self._desk.refusals.count
        await abort(context, error, call=call, correlation_id=correlation_id, count=count)

    async def GetChallenge(  # noqa: N802 - the name in the contract
        self, request: agent_pb2.ChallengeRequest, context: Context
    ) -> agent_pb2.Challenge:
        """Issue a challenge bound to the key of this connection."""
        correlation_id = self._desk.correlation_id()
        try:
            require_protocol(request.protocol_version)
            peer = peer_of(context, self._desk.clock.now())
            require_purpose(request, agent_pb2.PURPOSE_ATTEST)
            return self._desk.challenge(Purpose.ATTEST, peer.tls_spki)
        except Exception as error:  # noqa: BLE001 - the edge: everything becomes a status
            await self._abort(context, error, "GetChallenge", correlation_id)

    async def Attest(  # noqa: N802 - the name in the contract
        self, request: agent_pb2.AttestRequest, context: Context
    ) -> agent_pb2.AttestResponse:
        """Decide one attestation."""
        correlation_id = self._desk.correlation_id()
        received = self._desk.clock.now()
        try:
            require_protocol(request.protocol_version)
            peer = peer_of(context, received)
            call = AttestCall(
                presented=Presented(
                    purpose=Purpose.ATTEST,
                    ticket=request.ticket,
                    binding=request.binding,
                    evidence=request.evidence,
                    tls_spki=peer.tls_spki,
                    received=received,
                    runtime_log=list_part(request),
                ),
                workloads=tuple(request.workloads),
                certificate_not_after=peer.not_after,
                agent_version=agent_version(request.agent),
                correlation_id=correlation_id,
                result=_wanted(request),
            )
            with self._one_of(thumbprint(peer.tls_spki).hex()):
                answer = await self._desk.decide(lambda: self._attestation.attest(call))
            return self._response(answer, peer, received, correlation_id)
        except Exception as error:  # noqa: BLE001 - the edge: everything becomes a status
            await self._abort(context, error, "Attest", correlation_id)

    async def Watch(  # noqa: N802 - the name in the contract
        self, request_iterator: AsyncIterator[agent_pb2.AgentMessage], context: Context
    ) -> AsyncIterator[agent_pb2.ServerMessage]:
        """Push challenges and revocations for as long as the stream is open."""
        correlation_id = self._desk.correlation_id()
        try:
            peer = peer_of(context, self._desk.clock.now())
            node_id = thumbprint(peer.tls_spki).hex()
            hello = await _hello(request_iterator)
            require_protocol(hello.protocol_version)
            await self._desk.decide(
                lambda: self._database.read(lambda tx: require_admitted(tx.nodes.get(node_id)))
            )
            # The agent learns now that it is heard, not with the first push.
            await context.send_initial_metadata(())
            async for message in self._pushed(
                peer, node_id, hello.highest_sequence, request_iterator
            ):
                yield message
        except Exception as error:  # noqa: BLE001 - the edge: everything becomes a status
            await self._abort(context, error, "Watch", correlation_id)

    @contextmanager
    def _one_of(self, node_id: str) -> Iterator[None]:
        """Count an attestation of this node while it waits and is decided.

        Raises:
            Refused: `rate_limited`: no node fills the lane that all share.
        """
        if self._attesting[node_id] >= _ATTESTING_AT_ONCE:
            raise Refused(Code.rate_limited, "this node has attestations under way already")
        self._attesting[node_id] += 1
        try:
            yield
        finally:
            self._attesting[node_id] -= 1
            if not self._attesting[node_id]:
                del self._attesting[node_id]

    def _response(
        self, answer: AttestAnswer, peer: Peer, received: datetime, correlation_id: str
    ) -> agent_pb2.AttestResponse:
        spread = 1 - RENEWAL_JITTER * self._jitter()
        renew_after_ms = int(answer.renew_after_ms * spread)
        node_id = thumbprint(peer.tls_spki).hex()
        self._renewals[node_id] = received + timedelta(milliseconds=renew_after_ms)
        response = agent_pb2.AttestResponse(
            posture=answer.posture.value,
            terms=answer.terms,
            content_keys=[agent_pb2.WrappedSecret(ciphertext=c) for c in answer.content_keys],
            ratchet=agent_pb2.WrappedSecret(ciphertext=answer.ratchet),
            attest_again_in_ms=renew_after_ms,
            runtime_log_next=answer.runtime_log_next,
            attestation_result=answer.attestation_result,
            refused=[
                agent_pb2.LeaseDenial(
                    workload=denial.workload,
                    denial=agent_pb2.Denial(
                        code=node_words.of_workload(denial.code), correlation_id=correlation_id
                    ),
                )
                for denial in answer.denials
            ],
        )
        if answer.tpm_lock is not None:
            response.tpm_lock.CopyFrom(credential_message(answer.tpm_lock))
        if answer.certificate is not None:
            response.certificate_chain.extend(answer.certificate.chain)
        if word := node_words.of_posture(answer.code):
            response.denial.CopyFrom(agent_pb2.Denial(code=word, correlation_id=correlation_id))
        return response

    async def _pushed(
        self,
        peer: Peer,
        node_id: str,
        sequence: int,
        incoming: AsyncIterator[agent_pb2.AgentMessage],
    ) -> AsyncIterator[agent_pb2.ServerMessage]:
        """Yield what this stream pushes until the agent closes it."""
        bell = self._bells.hang(node_id)
        outbox: asyncio.Queue[agent_pb2.ServerMessage | None] = asyncio.Queue(maxsize=64)
        tasks = (
            asyncio.create_task(self._receive(peer, node_id, incoming, outbox)),
            asyncio.create_task(self._push(peer, node_id, sequence, bell, outbox)),
        )
        try:
            while (message := await outbox.get()) is not None:
                yield message
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            self._bells.take_down(node_id, bell)
            if not self._bells.hanging(node_id):
                self._renewals.pop(node_id, None)

    async def _receive(
        self,
        peer: Peer,
        node_id: str,
        incoming: AsyncIterator[agent_pb2.AgentMessage],
        outbox: asyncio.Queue[agent_pb2.ServerMessage | None],
    ) -> None:
        """Answer what the agent says; the end of its messages is the end of the stream."""
        try:
            async for message in incoming:
                await asyncio.sleep(_MESSAGE_PAUSE_S)
                kind = message.WhichOneof("message")
                if kind == "challenge_wanted":
                    challenge = self._desk.challenge(Purpose.ATTEST, peer.tls_spki)
                    await outbox.put(agent_pb2.ServerMessage(challenge=challenge))
                elif kind == "wiped":
                    statement = message.wiped.statement
                    digest = await self._desk.decide(
                        lambda: self._wipes.record(node_id, statement)  # noqa: B023 - awaited here
                    )
                    await outbox.put(agent_pb2.ServerMessage(wipe_recorded=digest))
                else:
                    raise Refused(Code.invalid_request, f"{kind} may not be said here")
        finally:
            await outbox.put(None)

    async def _push(
        self,
        peer: Peer,
        node_id: str,
        sequence: int,
        bell: asyncio.Event,
        outbox: asyncio.Queue[agent_pb2.ServerMessage | None],
    ) -> None:
        """Push revocations above `sequence`, and a challenge when renewal is due."""
        try:
            while True:
                bell.clear()
                while page := await self._terms_after(node_id, sequence):
                    for terms in page:
                        sequence = terms.sequence
                        if terms.kind == TermsKind.REVOCATION.name.lower():
                            await outbox.put(agent_pb2.ServerMessage(terms=terms.cose))
                wait = await self._challenge_if_due(peer, node_id, outbox)
                try:
                    await asyncio.wait_for(bell.wait(), timeout=min(wait, POLL_S))
                except TimeoutError:
                    continue
        finally:
            await outbox.put(None)

    async def _terms_after(self, node_id: str, sequence: int) -> tuple[SignedTerms, ...]:
        return await self._pushes.run(
            lambda: self._database.read(
                lambda tx: tx.terms.after(node_id, sequence, limit=_PUSHED_AT_ONCE)
            )
        )

    async def _challenge_if_due(
        self,
        peer: Peer,
        node_id: str,
        outbox: asyncio.Queue[agent_pb2.ServerMessage | None],
    ) -> float:
        """Push a challenge if renewal is due; return the seconds until the next one."""
        now = self._desk.clock.now()
        if now >= peer.not_after:
            raise Refused(Code.unauthenticated, "the node certificate of this stream has expired")
        due = self._renewals.get(node_id)
        if due is None:
            return POLL_S
        if now < due:
            return (due - now).total_seconds()
        # Offered once: an agent that lets it pass asks for another when it is ready.
        del self._renewals[node_id]
        challenge = self._desk.challenge(Purpose.ATTEST, peer.tls_spki)
        await outbox.put(agent_pb2.ServerMessage(challenge=challenge))
        return POLL_S


def _wanted(request: agent_pb2.AttestRequest) -> ResultRequest | None:
    if not request.HasField("result"):
        return None
    return ResultRequest(request.result.audience, request.result.nonce)


async def _hello(incoming: AsyncIterator[agent_pb2.AgentMessage]) -> agent_pb2.Hello:
    """Return the first message of a stream.

    Raises:
        Refused: `invalid_request` when it is anything else.
    """
    async for message in incoming:
        if message.WhichOneof("message") == "hello":
            if message.hello.highest_sequence > _MAX_SEQUENCE:
                raise Refused(Code.invalid_request, "no terms of ours have such a sequence")
            return message.hello
        break
    raise Refused(Code.invalid_request, "a stream begins with Hello")
