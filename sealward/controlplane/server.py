"""One control-plane process: three listeners on one event loop, and the workers beside them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio
import structlog
import uvicorn

from sealward.controlplane import bootstrap
from sealward.controlplane.adapters.certificates import TlsIdentity
from sealward.controlplane.api.app import create_app
from sealward.controlplane.bootstrap import ControlPlane
from sealward.controlplane.config import Address, Settings
from sealward.controlplane.domain.errors import DomainError
from sealward.controlplane.rpc.agent_listener import AgentListener
from sealward.controlplane.rpc.calls import Desk
from sealward.controlplane.rpc.enrollment_listener import EnrollmentListener
from sealward.controlplane.rpc.parsing import StrictParsing
from sealward.controlplane.rpc.streams import StreamBells
from sealward.protos import agent_pb2_grpc

_GRPC_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 4 << 20),  # evidence of 1 MiB, its binding and slack
    ("grpc.max_send_message_length", 8 << 20),
    ("grpc.so_reuseport", 0),  # a second process on the port is a mistake, not a replica
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
_GRACE_S: Final = 2.0
_SWEEP_POLL_S: Final = 1.0  # the floor under a lost wake-up, and how a crash's sweeps are resumed
_HOUSEKEEPING_S: Final = 1.0

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
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    plane = await asyncio.to_thread(bootstrap.build, settings, ring=bells.ring)
    try:
        with _workers(plane):
            async with listeners(plane, bells) as listening:
                ready(plane, listening)
                await stop.wait()
                _log.info("stopping")
    finally:
        await asyncio.to_thread(plane.close)


@contextlib.asynccontextmanager
async def listeners(plane: ControlPlane, bells: StreamBells) -> AsyncIterator[Listening]:
    """Open the three listeners for as long as the context lasts; no worker runs beside them.

    Raises:
        OSError: an address cannot be listened on.
    """
    settings = plane.settings
    with ThreadPoolExecutor(settings.decision_threads, thread_name_prefix="decide") as executor:
        desk = Desk(
            clock=plane.clock,
            random_bytes=secrets.token_bytes,
            executor=executor,
            challenges=plane.challenges,
        )
        parsing = (StrictParsing(secrets.token_bytes),)
        enrollment = grpc.aio.server(interceptors=parsing, options=_GRPC_OPTIONS)
        agent_pb2_grpc.add_EnrollmentServicer_to_server(
            EnrollmentListener(desk, plane.enrollment), enrollment
        )
        agents = grpc.aio.server(interceptors=parsing, options=_GRPC_OPTIONS)
        agent_pb2_grpc.add_AgentServicer_to_server(
            AgentListener(
                desk=desk,
                attestation=plane.attestation,
                wipes=plane.wipes,
                database=plane.database,
                bells=bells,
                jitter=lambda: secrets.randbelow(1 << 32) / (1 << 32),
            ),
            agents,
        )
        pair = [(plane.server_tls.key, plane.server_tls.chain)]
        enrollment_port = enrollment.add_secure_port(
            str(settings.enrollment), grpc.ssl_server_credentials(pair)
        )
        agents_port = agents.add_secure_port(
            str(settings.agents),
            grpc.ssl_server_credentials(
                pair, root_certificates=plane.node_root, require_client_auth=True
            ),
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
    config.ssl = _tls_context(plane.server_tls)
    server = _Uvicorn(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
            raise OSError(f"the admin API cannot listen on {address}")
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    return Address(address.host, port), _Serving(server, task)


def _tls_context(identity: TlsIdentity) -> ssl.SSLContext:
    """Return a TLS 1.3 context; the key passes through anonymous memory, never a file on disk."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    descriptor = os.memfd_create("tls-identity", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, identity.key + identity.chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)
    return context


@contextlib.contextmanager
def _workers(plane: ControlPlane) -> Iterator[None]:
    """Run sweeps, housekeeping and the log's sequencer in threads of their own."""
    stop = threading.Event()
    threads = (
        threading.Thread(target=_sweep, args=(plane, stop), name="sweeps"),
        threading.Thread(target=_keep_house, args=(plane, stop), name="housekeeping"),
        threading.Thread(
            target=plane.sequencer.run, args=(stop, _log_failure("sequencer")), name="sequencer"
        ),
    )
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        plane.bell.event.set()
        for thread in threads:
            thread.join()


def _sweep(plane: ControlPlane, stop: threading.Event) -> None:
    failed = _log_failure("sweeper")
    while not stop.is_set():
        plane.bell.event.clear()
        try:
            plane.sweeper.run()
        except DomainError as error:
            failed(error)
        plane.bell.event.wait(_SWEEP_POLL_S)


def _keep_house(plane: ControlPlane, stop: threading.Event) -> None:
    failed = _log_failure("housekeeping")
    while not stop.wait(_HOUSEKEEPING_S):
        try:
            plane.housekeeper.run()
        except DomainError as error:
            failed(error)


def _log_failure(worker: str) -> Callable[[DomainError], None]:
    def log(error: DomainError) -> None:
        _log.error("background work failed", worker=worker, code=error.code, detail=error.detail)

    return log
