"""Putting an agent together: the only module that builds concrete things."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sealward.enclave_agent.attesters.port import Attester
from sealward.enclave_agent.backoff import Backoff
from sealward.enclave_agent.clock import BootClock, GuardedClock, boottime_ns, wall_ms
from sealward.enclave_agent.config import AgentSettings, Listen
from sealward.enclave_agent.enrollment import Enroller
from sealward.enclave_agent.evidence import EvidenceMaker
from sealward.enclave_agent.gate import BookGate
from sealward.enclave_agent.hardening import Applied
from sealward.enclave_agent.holdings import Holdings
from sealward.enclave_agent.identity import HpkeKeyring, InstanceKeys
from sealward.enclave_agent.inference.catalog import Catalog
from sealward.enclave_agent.inference.oip import Budgets, InferenceApp
from sealward.enclave_agent.inference.server import InferenceServer, TlsFiles
from sealward.enclave_agent.inference.worker_client import WorkerLimits
from sealward.enclave_agent.leases import LeaseBook
from sealward.enclave_agent.models import ModelHost, ModelKeeper
from sealward.enclave_agent.pacing import Pacing
from sealward.enclave_agent.runtime import AgentRuntime, Delays, Ended
from sealward.enclave_agent.sealed_host import SealedModelHost
from sealward.enclave_agent.session import SessionParts
from sealward.enclave_agent.standing import Standing
from sealward.enclave_agent.statements import StatementDesk
from sealward.enclave_agent.status import AgentApp, StatusSource
from sealward.enclave_agent.transport import Addresses, ControlPlane
from sealward.protos.trust import TrustConfiguration
from sealward.telemetry import get_logger

INSTANCE_PAUSE_S: Final = (1.0, 300.0)  # between an instance that was forgotten and the next one
ATTEST_BACKOFF_S: Final = (1.0, 60.0)  # after a denied attestation: the first wait, and the longest
DECRYPTION_THREADS: Final = 2

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A complete agent that has not started."""

    runtime: AgentRuntime
    server: InferenceServer
    parts: SessionParts
    catalog: Catalog

    async def run(self, stop: asyncio.Event) -> Ended:
        """Serve and renew until the end; return why it ended when all is wiped and closed.

        Raises:
            OSError: the inference address cannot be had.
        """
        port = await self.server.start()
        trust = self.parts.maker.trust
        _log.info(
            "agent started",
            node=self.parts.maker.keys.node.hex(),
            trust_domain=trust.trust_domain,
            development=trust.development,
            inference_port=port,
        )
        try:
            ended = await self.runtime.run(stop)
        finally:
            await self.server.stop()
        _log.info("agent ended", because=ended)
        return ended


async def run(
    begin: Callable[[str], Agent], stop: asyncio.Event, *, join_token: str, pauses: Backoff
) -> None:
    """Run one instance after the other, each with keys of its own, until `stop` is set.

    Args:
        begin: builds a new instance with a join token.
        stop: ends the present one, and the last.
        join_token: for the first instance. It admits one node, so to a later one it is only in the
            way: without it the enrollment policy decides.
        pauses: between instances. Never reset: each leaves a node behind for operators to retire,
            and a control plane seldom loses its state.

    Raises:
        OSError: the inference address cannot be had.
    """
    while await begin(join_token).run(stop) is Ended.SPENT:
        join_token = ""
        pause_s = pauses.delay()
        _log.warning(
            "this instance is unknown to its control plane; beginning a new one",
            in_s=round(pause_s, 1),
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
            return


def instance_pauses() -> Backoff:
    """Return the pauses between instances of one process."""
    first, most = INSTANCE_PAUSE_S
    return Backoff(first=first, most=most, random_bytes=secrets.token_bytes)


def build(
    settings: AgentSettings,
    *,
    trust: TrustConfiguration,
    attester: Attester,
    join_token: str,
    hardening: tuple[Applied, ...],
    host: ModelHost | None = None,
    delays: Delays | None = None,
    boot_clock: BootClock = boottime_ns,
) -> Agent:
    """Build an agent with fresh keys. Must run on the event loop that will run it.

    Args:
        settings: what the operator decides.
        trust: the measured trust configuration.
        attester: where evidence comes from.
        join_token: single-use token, or empty.
        hardening: what this process took from itself, for the status.
        host: opens models; sealed files of the models folder by default.
        delays: between tries; the defaults of `Delays` when None.
        boot_clock: what leases are counted on.
    """
    keys = InstanceKeys.generate()
    book, catalog = LeaseBook(), Catalog()
    clock = GuardedClock(boot_clock, on_doubt=book.doubt)
    maker = EvidenceMaker(trust=trust, keys=keys, attester=attester)
    host = host or SealedModelHost(
        settings.models, tenant=trust.tenant, limits=WorkerLimits(), threads=DECRYPTION_THREADS
    )
    gate = BookGate(
        book,
        trust_domain=trust.trust_domain,
        tenant=trust.tenant,
        clock=clock,
        wall_clock=wall_ms,
    )
    keeper = ModelKeeper(host, catalog, clock=clock, random_bytes=secrets.token_bytes)
    parts = _parts(maker, book, gate, keeper, clock=clock, settings=settings)
    addresses = Addresses(enrollment=settings.enrollment, agent=settings.agent)
    plane = ControlPlane(addresses, server_roots=trust.server_roots, keys=keys)
    status = StatusSource(parts=parts, catalog=catalog, hardening=hardening)
    return Agent(
        runtime=AgentRuntime(
            plane=plane,
            enroller=Enroller(
                plane=plane, maker=maker, keyring=parts.keyring, clock=clock, join_token=join_token
            ),
            parts=parts,
            delays=delays or Delays(),
            random_bytes=secrets.token_bytes,
        ),
        server=_server(
            settings.listen,
            AgentApp(InferenceApp(catalog=catalog, gate=gate, budgets=Budgets()), status),
        ),
        parts=parts,
        catalog=catalog,
    )


def _parts(
    maker: EvidenceMaker,
    book: LeaseBook,
    gate: BookGate,
    keeper: ModelKeeper,
    *,
    clock: BootClock,
    settings: AgentSettings,
) -> SessionParts:
    desk = StatementDesk(maker.keys, clock)
    first, most = ATTEST_BACKOFF_S
    return SessionParts(
        maker=maker,
        keyring=HpkeKeyring(random_bytes=secrets.token_bytes, now_ns=clock()),
        book=book,
        holdings=Holdings(
            trust=maker.trust,
            keys=maker.keys,
            book=book,
            gate=gate,
            keeper=keeper,
            desk=desk,
            clock=clock,
        ),
        desk=desk,
        standing=Standing(),
        pacing=Pacing(book, Backoff(first=first, most=most, random_bytes=secrets.token_bytes)),
        clock=clock,
        workloads=settings.workloads,
        result_audience=settings.result_audience,
    )


def _server(listen: Listen, app: AgentApp) -> InferenceServer:
    tls = (
        None
        if listen.certificate is None or listen.key is None
        else TlsFiles(certificate=listen.certificate, key=listen.key)
    )
    return InferenceServer(app, host=listen.host, port=listen.port, tls=tls)
