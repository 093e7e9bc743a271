"""One control-plane process: three listeners on one event loop, and the workers beside them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import grpc.aio
import structlog
import uvicorn

from sealward.controlplane import bootstrap
from sealward.controlplane.api.app import create_app
from sealward.controlplane.bootstrap import ControlPlane
from sealward.controlplane.config import Address, Settings
from sealward.controlplane.rpc.agent_listener import AgentListener
from sealward.controlplane.rpc.arrivals import Arrivals
from sealward.controlplane.rpc.calls import Desk, Lane, Refusals
from sealward.controlplane.rpc.enrollment_listener import EnrollmentListener
from sealward.controlplane.rpc.parsing import MAX_MESSAGE, StrictParsing
from sealward.controlplane.rpc.streams import StreamBells
from sealward.controlplane.workers import working
from sealward.protos import agent_pb2_grpc

_GRPC_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", 8 << 20),
    ("grpc.so_reuseport", 0),  # a second process on the port is a mistake, not a replica
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.server_handshake_timeout_ms", 10_000),
)
# An enrolment is three calls one after the other on a connection of its own.
_ENROLLING_OPTIONS: Final = (
    *_GRPC_OPTIONS,
    ("grpc.max_concurrent_streams", 4),
    ("grpc.max_connection_age_ms", 30_000),
    ("grpc.max_connection_age_grace_ms", 20_000),  # as long as an agent waits for its answer
)
# A node has one `Watch` open, and beside it one attestation at a time; twice, while it reconnects.
_AGENT_OPTIONS: Final = (*_GRPC_OPTIONS, ("grpc.max_concurrent_streams", 8))
_GRACE_S: Final = 2.0
_IDENTITY_CHECK_S: Final = 600.0
_ENROLLING_THREADS: Final = 2
_PUSHING_THREADS: Final = 2
_MOST_ENROLLING: Final = 64  # anonymous requests that may wait; each holds up to MAX_MESSAGE
_MOST_ARRIVING: Final = 128  # anonymous calls whose message is on its way
_MOST_OF_NODES: Final = 4096  # calls of nodes, the same
_MOST_ANONYMOUS: Final = 512  # beyond: refused by gRPC; more than wait, so that arrivals decide
_MOST_ATTESTING: Final = 1024  # a fleet that renews at once waits here for a few seconds
_MOST_PUSHING: Final = 100_000  # one for each stream; they hold nothing but their place

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses that the listeners got."""

    rest: Address
    enrollment: Address
    agents: Address


class _Uvicorn(uvicorn.Server):
    """A uvicorn that leaves signals to the process it is part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings, *, ready: Callable[[ControlPlane, Listening], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: already found servable.
        ready: called once when every listener answers.

    Raises:
        DomainError, InvalidSettings: the installation cannot be opened.
        OSError: an address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    bells = StreamBells(loop)
    refusals = Refusals()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    plane = await asyncio.to_thread(bootstrap.build, settings, ring=bells.ring)
    try:
        with working(plane, refusals.drain):
            async with listeners(plane, bells, refusals) as listening:
                ready(plane, listening)
                while not stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), _IDENTITY_CHECK_S)
                    plane.server_identity.renew_if_due(plane.clock.now())
                _log.info("stopping")
    finally:
        await asyncio.to_thread(plane.close)


@contextlib.asynccontextmanager
async def listeners(
    plane: ControlPlane, bells: StreamBells, refusals: Refusals
) -> AsyncIterator[Listening]:
    """Open the three listeners for as long as the context lasts; no worker runs beside them.

    Raises:
        OSError: an address cannot be listened on.
    """
    settings = plane.settings
    with contextlib.ExitStack() as stack:
        enrollment = _enrollment_server(plane, stack, refusals)
        agents = _agent_server(plane, stack, bells, refusals)
        enrollment_port = enrollment.add_secure_port(
            str(settings.enrollment), plane.server_identity.grpc_credentials()
        )
        agents_port = agents.add_secure_port(
            str(settings.agents),
            plane.server_identity.grpc_credentials(client_root=plane.node_root),
        )
        await enrollment.start()
        await agents.start()
        rest, serving = await _start_rest(plane)
        try:
            yield Listening(
                rest=rest,
                enrollment=Address(settings.enrollment.host, enrollment_port),
                agents=Address(settings.agents.host, agents_port),
            )
        finally:
            serving.server.should_exit = True
            await asyncio.gather(serving.task, enrollment.stop(_GRACE_S), agents.stop(_GRACE_S))


def _enrollment_server(
    plane: ControlPlane, stack: contextlib.ExitStack, refusals: Refusals
) -> grpc.aio.Server:
    desk = _desk(plane, refusals, _lane(stack, "enroll", _ENROLLING_THREADS, _MOST_ENROLLING))
    server = grpc.aio.server(
        interceptors=(_parsing(refusals, _MOST_ARRIVING),),
        options=_ENROLLING_OPTIONS,
        maximum_concurrent_rpcs=_MOST_ANONYMOUS,
    )
    agent_pb2_grpc.add_EnrollmentServicer_to_server(
        EnrollmentListener(desk, plane.enrollment, plane.tpm_nodes), server
    )
    return server


def _agent_server(
    plane: ControlPlane, stack: contextlib.ExitStack, bells: StreamBells, refusals: Refusals
) -> grpc.aio.Server:
    threads = plane.settings.decision_threads
    desk = _desk(plane, refusals, _lane(stack, "attest", threads, _MOST_ATTESTING))
    server = grpc.aio.server(
        interceptors=(_parsing(refusals, _MOST_OF_NODES),), options=_AGENT_OPTIONS
    )
    agent_pb2_grpc.add_AgentServicer_to_server(
        AgentListener(
            desk=desk,
            attestation=plane.attestation,
            wipes=plane.wipes,
            database=plane.database,
            bells=bells,
            pushes=_lane(stack, "push", _PUSHING_THREADS, _MOST_PUSHING),
            jitter=lambda: secrets.randbelow(1 << 32) / (1 << 32),
        ),
        server,
    )
    return server


def _parsing(refusals: Refusals, most: int) -> StrictParsing:
    return StrictParsing(secrets.token_bytes, refusals.count, Arrivals(most=most))


def _lane(stack: contextlib.ExitStack, name: str, threads: int, most: int) -> Lane:
    executor = stack.enter_context(ThreadPoolExecutor(threads, thread_name_prefix=name))
    return Lane(executor, most=most)


def _desk(plane: ControlPlane, refusals: Refusals, lane: Lane) -> Desk:
    return Desk(
        clock=plane.clock,
        random_bytes=secrets.token_bytes,
        lane=lane,
        challenges=plane.challenges,
        refusals=refusals,
    )


@dataclass(frozen=True, slots=True)
class _Serving:
    server: uvicorn.Server
    task: asyncio.Task[None]


async def _start_rest(plane: ControlPlane) -> tuple[Address, _Serving]:
    address = plane.settings.rest
    config = uvicorn.Config(
        create_app(plane.admin, random_bytes=secrets.token_bytes),
        host=address.host,
        port=address.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(_GRACE_S),
        limit_concurrency=512,
    )
    config.load()
    config.ssl = plane.server_identity.tls_context()
    server = _Uvicorn(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
            raise OSError(f"the admin API cannot listen on {address}")
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    return Address(address.host, port), _Serving(server, task)
