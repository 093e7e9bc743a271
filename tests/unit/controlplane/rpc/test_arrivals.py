"""Unary calls wait for their message in a bounded place, for a bounded time; on a real server."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from fakes import wire_agent
from grpc import aio

from sealward.controlplane.rpc.arrivals import Arrivals
from sealward.controlplane.rpc.parsing import MAX_MESSAGE, StrictParsing
from sealward.controlplane.rpc.peer import Context
from sealward.controlplane.services.evidence import MAX_EVIDENCE_BYTES
from sealward.protos import agent_pb2, agent_pb2_grpc
from sealward.protos.tpm_node import MAX_RUNTIME_LOG

LATE = ("rate_limited", grpc.StatusCode.RESOURCE_EXHAUSTED)
TOO_LARGE = ("payload_too_large", grpc.StatusCode.INVALID_ARGUMENT)
GET_CHALLENGE = "/sealward.agent.v1.Enrollment/GetChallenge"
ASK = agent_pb2.ChallengeRequest(protocol_version=1)


class Echo(agent_pb2_grpc.EnrollmentServicer):
    """Answers with what it heard."""

    async def GetChallenge(  # noqa: N802 - the name in the contract
        self, request: agent_pb2.ChallengeRequest, context: Context
    ) -> agent_pb2.Challenge:
        del context
        return agent_pb2.Challenge(nonce=request.tls_spki)

    async def GetCredential(  # noqa: N802 - the name in the contract
        self, request: agent_pb2.CredentialRequest, context: Context
    ) -> agent_pb2.TpmCredential:
        raise NotImplementedError

    async def Enroll(  # noqa: N802 - the name in the contract
        self, request: agent_pb2.EnrollRequest, context: Context
    ) -> agent_pb2.EnrollResponse:
        del request, context
        return agent_pb2.EnrollResponse(node_id="served")


@asynccontextmanager
async def served(arrivals: Arrivals) -> AsyncIterator[tuple[aio.Channel, Counter[str]]]:
    counted: Counter[str] = Counter()
    parsing = StrictParsing(bytes, lambda call, code: counted.update([f"{call}/{code}"]), arrivals)
    server = aio.server(
        interceptors=(parsing,), options=(("grpc.max_receive_message_length", MAX_MESSAGE),)
    )
    agent_pb2_grpc.add_EnrollmentServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel, counted
    finally:
        await server.stop(0)


def silent(channel: aio.Channel) -> aio.StreamUnaryCall[bytes, bytes]:
    """Begin a call, and say nothing."""
    return channel.stream_unary(GET_CHALLENGE)(timeout=wire_agent.DEADLINE_S)


async def refused(call: Callable[[], object]) -> tuple[str, grpc.StatusCode]:
    try:
        await call()
    except grpc.RpcError as error:
        return wire_agent.read_refusal(error)
    raise AssertionError("the call was answered")


async def over(call: aio.StreamUnaryCall[bytes, bytes]) -> tuple[str, grpc.StatusCode]:
    return await refused(lambda: call)


def test_a_call_without_its_message_is_ended_with_a_code_when_its_time_is_over() -> None:
    async def body() -> None:
        async with served(Arrivals(most=8, seconds=0.2)) as (channel, counted):
            assert await asyncio.gather(*(over(silent(channel)) for _ in range(4))) == [LATE] * 4
            assert counted == {"GetChallenge/rate_limited": 4}
            answer = await agent_pb2_grpc.EnrollmentStub(channel).GetChallenge(ASK)
            assert answer == agent_pb2.Challenge()

    asyncio.run(body())


def test_when_all_places_are_taken_the_call_that_waited_longest_gives_its_place_up() -> None:
    async def body() -> None:
        async with served(Arrivals(most=2, seconds=60)) as (channel, _):
            calls = []
            for _ in range(2):
                calls.append(silent(channel))
                await asyncio.sleep(0.2)  # their order is that of their arrival
            stub = agent_pb2_grpc.EnrollmentStub(channel)
            assert await stub.GetChallenge(ASK, timeout=wire_agent.DEADLINE_S) is not None
            assert await over(calls[0]) == LATE
            assert not calls[1].done(), "the honest call needed one place only, and gave it back"
            assert await stub.GetChallenge(ASK, timeout=wire_agent.DEADLINE_S) is not None
            assert not calls[1].done()
            calls[1].cancel()

    asyncio.run(body())


def test_a_call_that_ends_without_a_message_is_told_so_and_gives_its_place_back() -> None:
    async def body() -> None:
        async with served(Arrivals(most=1, seconds=60)) as (channel, _):
            for _ in range(3):
                call = silent(channel)
                await call.done_writing()
                assert await over(call) == (
                    "invalid_request",
                    grpc.StatusCode.INVALID_ARGUMENT,
                )
            given_up = silent(channel)
            await asyncio.sleep(0.1)
            given_up.cancel()
            stub = agent_pb2_grpc.EnrollmentStub(channel)
            assert await stub.GetChallenge(ASK, timeout=wire_agent.DEADLINE_S) is not None

    asyncio.run(body())


@pytest.mark.parametrize(
    "fields",
    [
        {"evidence": bytes(MAX_EVIDENCE_BYTES + 1)},
        {"runtime_log": agent_pb2.RuntimeLog(data=bytes(MAX_RUNTIME_LOG + 1))},
        {"binding": bytes(65 << 10)},
        {"proof": bytes(65 << 10)},
        {"ticket": bytes(33 << 10), "join_token": "x" * (33 << 10)},
    ],
    ids=["evidence", "log", "binding", "proof", "sum"],
)
def test_no_part_of_an_enrolment_is_larger_than_it_may_be(fields: dict[str, object]) -> None:
    async def body() -> None:
        async with served(Arrivals(most=8)) as (channel, _):
            stub = agent_pb2_grpc.EnrollmentStub(channel)
            request = agent_pb2.EnrollRequest(**fields)
            assert await refused(lambda: stub.Enroll(request)) == TOO_LARGE
            whole = agent_pb2.EnrollRequest(
                evidence=bytes(MAX_EVIDENCE_BYTES),
                runtime_log=agent_pb2.RuntimeLog(first=1 << 63, data=bytes(MAX_RUNTIME_LOG)),
                binding=bytes(60 << 10),
            )
            assert (await stub.Enroll(whole)).node_id == "served"

    asyncio.run(body())


def test_a_request_for_a_challenge_is_small() -> None:
    async def body() -> None:
        async with served(Arrivals(most=8)) as (channel, _):
            stub = agent_pb2_grpc.EnrollmentStub(channel)
            large = agent_pb2.ChallengeRequest(tls_spki=bytes(5 << 10))
            assert await refused(lambda: stub.GetChallenge(large)) == TOO_LARGE

    asyncio.run(body())
