"""Callers that begin calls and say nothing, on the real listeners: others are served all the same.

Each connection has a few streams, and over all connections the call that has waited longest for its
message gives its place to the next (sealward/controlplane/rpc/arrivals.py).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from queue import Queue

import grpc
import pytest
from fakes import wire_agent as wire
from fakes.control_plane import Reachable
from fakes.instances import Instance
from grpc import aio

from sealward.controlplane import server
from sealward.protos.agent_pb2_grpc import AgentStub, EnrollmentStub
from sealward.verifier.rats.binding import Purpose

SERVED_WITHIN_S = 5.0
STREAMS = {"Enrollment/GetCredential": 4, "Agent/Attest": 8}
OWN = (("grpc.use_local_subchannel_pool", 1),)


def honest(plane: Reachable) -> float:
    """Ask for a challenge on a connection of its own; return the seconds until it came."""
    started = time.monotonic()
    instance = Instance(plane.world.plane.trust)
    with wire.enrollment_channel(plane) as channel:
        wire.challenge(EnrollmentStub(channel), instance, Purpose.ENROLL)
    return time.monotonic() - started


def silent(channel: aio.Channel, method: str) -> aio.StreamUnaryCall[bytes, bytes]:
    return channel.stream_unary(f"/sealward.agent.v1.{method}")(timeout=wire.DEADLINE_S)


async def beside(plane: Reachable, connections: int, calls: int) -> int:
    """Begin silent calls on some connections; return how many ended while an honest one came."""
    credentials = grpc.ssl_channel_credentials(root_certificates=plane.roots)
    address = str(plane.listening.enrollment)
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(aio.secure_channel(address, credentials, OWN))
            for _ in range(connections)
        ]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        begun = [
            silent(channels[n % connections], "Enrollment/GetCredential") for n in range(calls)
        ]
        await asyncio.sleep(1)
        for _ in range(3):
            assert await asyncio.to_thread(honest, plane) < SERVED_WITHIN_S
        ended = sum(call.done() for call in begun)
        for call in begun:
            call.cancel()
    return ended


def test_silent_calls_of_one_connection_keep_nobody_out(plane: Reachable) -> None:
    asyncio.run(beside(plane, 1, 128))


def test_silent_calls_of_many_connections_keep_nobody_out(plane: Reachable) -> None:
    connections = server._MOST_ARRIVING // 4 + 4  # noqa: SLF001 - one more than there are places
    calls = 4 * connections
    assert asyncio.run(beside(plane, connections, calls)) >= calls - server._MOST_ARRIVING  # noqa: SLF001 - as above


@pytest.mark.parametrize("method", STREAMS)
def test_a_connection_has_a_few_streams_only(plane: Reachable, method: str) -> None:
    instance = Instance(plane.world.plane.trust)
    wire.enroll(plane, instance)
    of_agents = method.startswith("Agent/")
    stop = threading.Event()

    def says_nothing() -> Iterator[bytes]:
        stop.wait(wire.DEADLINE_S)
        yield from ()

    with (
        wire.agent_channel(plane, instance) if of_agents else wire.enrollment_channel(plane)
    ) as channel:
        begin = channel.stream_unary(f"/sealward.agent.v1.{method}")
        stub, purpose = (
            (AgentStub(channel), Purpose.ATTEST)
            if of_agents
            else (EnrollmentStub(channel), Purpose.ENROLL)
        )
        wire.challenge(stub, instance, purpose)  # the connection stands, its limits are known
        begun = [begin.future(says_nothing()) for _ in range(STREAMS[method] - 1)]
        time.sleep(0.5)
        wire.challenge(stub, instance, purpose)
        begun.append(begin.future(says_nothing()))
        time.sleep(0.5)
        request = wire.agent_pb2.ChallengeRequest(protocol_version=1)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetChallenge(request, timeout=1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        stop.set()
        for call in begun:
            call.cancel()


def test_a_node_has_two_attestations_under_way_at_most(plane: Reachable) -> None:
    instance = Instance(plane.world.plane.trust)
    wire.enroll(plane, instance)
    held, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        held.set()
        assert go_on.wait(wire.DEADLINE_S)

    with wire.agent_channel(plane, instance) as channel, ThreadPoolExecutor(1) as writer:
        stub = AgentStub(channel)
        requests = [
            wire.attest_request(instance, wire.challenge(stub, instance, Purpose.ATTEST))
            for _ in range(3)
        ]
        for request in requests:
            request.binding = b"no binding"
        writing = writer.submit(plane.world.plane.database.write, hold)  # spending has to wait
        try:
            assert held.wait(wire.DEADLINE_S)
            calls = [stub.Attest.future(request, timeout=wire.DEADLINE_S) for request in requests]
            ended: Queue[grpc.Future] = Queue()
            for call in calls:
                call.add_done_callback(ended.put)
            first = ended.get(timeout=wire.DEADLINE_S)
            assert wire.read_refusal(first.exception()) == (
                "rate_limited",
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            )
            assert sum(call.done() for call in calls) == 1
        finally:
            go_on.set()
        writing.result()
        codes = sorted(wire.read_refusal(call.exception())[0] for call in calls)
        assert codes == ["evidence_malformed", "evidence_malformed", "rate_limited"]
        request = wire.attest_request(instance, wire.challenge(stub, instance, Purpose.ATTEST))
        assert stub.Attest(request, timeout=wire.DEADLINE_S).posture == "compliant"
