"""An agent whose time is virtual, with a control plane in the same process.

The event loop jumps to the next timer when nothing else is to be done, and stands still while a
thread is at work. The boot-time clock goes on with it, and further when the machine sleeps.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from fakes.agent_models import MemoryHost, QuotingAttester
from fakes.fake_control_plane import TENANT, TRUST_DOMAIN, Plane
from fakes.plane_leases import PlaneNode

from sealward.enclave_agent import own_thread
from sealward.enclave_agent.backoff import Backoff
from sealward.enclave_agent.clock import NS_PER_S, GuardedClock
from sealward.enclave_agent.evidence import EvidenceMaker
from sealward.enclave_agent.gate import BookGate
from sealward.enclave_agent.holdings import Holdings
from sealward.enclave_agent.identity import HpkeKeyring, InstanceKeys
from sealward.enclave_agent.inference.catalog import Catalog
from sealward.enclave_agent.leases import LeaseBook
from sealward.enclave_agent.messages import Admission, AttestAnswer, EnrollAnswer, read_attestation
from sealward.enclave_agent.models import ModelKeeper
from sealward.enclave_agent.pacing import Pacing
from sealward.enclave_agent.runtime import AgentRuntime, Delays
from sealward.enclave_agent.session import SessionParts
from sealward.enclave_agent.standing import Standing
from sealward.enclave_agent.statements import StatementDesk
from sealward.protos import agent_pb2
from sealward.verifier.rats.binding import Purpose

if TYPE_CHECKING:
    from sealward.enclave_agent.enrollment import Enroller
    from sealward.enclave_agent.transport import ControlPlane

DELAYS = Delays(connect=(0.25, 2.0), admit=(0.25, 4.0), pend=(0.5, 6.0), reject=(0.5, 8.0))
ATTEST = (0.25, 5.0)


class JumpingSelector(selectors.DefaultSelector):
    """Does not wait for timers but says that their time has come."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        at_work = any(thread.name == own_thread.NAME for thread in threading.enumerate())
        if timeout is None or at_work:
            return super().select(0.001)  # time stands still
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on the time of its selector."""

    def __init__(self) -> None:
        self.selector = JumpingSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


@dataclass
class World:
    """A control plane in this process, what it answers, and every act of the agent, with its time.

    Attributes:
        admit: answers an enrolment.
        stream: what a stream does before anything is pushed.
        decide: answers an attestation of a node; by default as the fake control plane does.
        pushes: whether a challenge is pushed as soon as a stream is open.
        pushes_at_farewell: whether one is pushed when a wipe is stated.
        offers: whether a challenge that is asked for comes.
        hangs: a step whose answers never come: "enroll" or "attest".
        slept_ns: how far the boot-time clock is ahead of the loop's; streams from before are dead.
        broken_clock: raises what reading the boot-time clock raises.
    """

    admit: Callable[[World], EnrollAnswer] = lambda world: world.admitted()
    stream: Callable[[], None] = lambda: None
    decide: Callable[[World, AttestAnswer], AttestAnswer] = lambda _, answer: answer
    pushes: bool = False
    pushes_at_farewell: bool = False
    offers: bool = True
    hangs: str = ""
    slept_ns: int = 0
    broken_clock: Callable[[], None] = lambda: None
    plane: Plane = field(default_factory=Plane)
    keys: InstanceKeys = field(default_factory=InstanceKeys.generate)
    attester: QuotingAttester = field(default_factory=QuotingAttester)
    acts: list[tuple[str, float]] = field(default_factory=list)

    def boot_ns(self) -> int:
        """Read the boot-time clock of this world."""
        self.broken_clock()
        loop_ns = int(asyncio.get_running_loop().time() * NS_PER_S)
        return 1_000 * NS_PER_S + loop_ns + self.slept_ns

    async def answered(self, kind: str) -> None:
        """Return unless this kind of call hangs."""
        if self.hangs == kind:
            await asyncio.Event().wait()

    def act(self, kind: str) -> None:
        self.acts.append((kind, asyncio.get_running_loop().time()))

    def times(self, kind: str) -> list[float]:
        return [at for what, at in self.acts if what == kind]

    def admitted(self, life: timedelta = timedelta(minutes=10), off_h: int = 0) -> EnrollAnswer:
        self.plane.nodes.setdefault(
            self.keys.node.hex(), PlaneNode(self.keys.tls_spki, self.keys.signing_public)
        )
        leaf = self.plane.node_authority.issue(
            self.public(), life, server=False, clock_off=timedelta(hours=off_h)
        )
        return EnrollAnswer(
            admission=Admission.ADMIT,
            chain=(leaf.public_bytes(Encoding.DER),),
            denial=None,
            retry_after_s=0,
            sent_ns=self.boot_ns(),
        )

    def public(self) -> ec.EllipticCurvePublicKey:
        key = load_der_public_key(self.keys.tls_spki)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return key

    # --- what the runtime asks of its parts ------------------------------------------------------

    async def enroll(self) -> EnrollAnswer:
        self.act("enroll")
        await self.answered("enroll")
        return self.admit(self)

    @asynccontextmanager
    async def agent(self, _: object) -> AsyncIterator[World]:
        self.act("connect")
        yield self

    def watch(self) -> Stream:
        return Stream(self)

    async def attest(self, request: agent_pb2.AttestRequest) -> AttestAnswer:
        self.act("attest")
        await self.answered("attest")
        said = self.plane.check(
            Purpose.ATTEST, request.ticket, request.binding, request.evidence, self.keys.tls_spki
        )
        answer = read_attestation(self.plane.decide(said, tuple(request.workloads)))
        return self.decide(self, answer)


class Stream:
    """The agent's end of a stream."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._born_ns = world.slept_ns
        self._pushed: asyncio.Queue[agent_pb2.ServerMessage] = asyncio.Queue()

    async def write(self, message: agent_pb2.AgentMessage) -> None:
        if message.HasField("challenge_wanted"):
            self._world.act("want")
            if self._world.offers:
                self._offer()
        if message.HasField("wiped"):  # never recorded here, so a farewell lasts
            self._world.act("wiped")
            if self._world.pushes_at_farewell:
                self._offer()

    async def wait_for_connection(self) -> None:
        self._world.stream()
        if self._world.pushes:
            self._offer()

    async def read(self) -> agent_pb2.ServerMessage:
        return await self._pushed.get()

    def cancel(self) -> None:
        pass

    def _offer(self) -> None:
        if self._born_ns != self._world.slept_ns:
            return  # half open: the other end is gone, and nobody said so
        challenge = self._world.plane.challenge(self._world.keys.tls_spki)
        self._pushed.put_nowait(agent_pb2.ServerMessage(challenge=challenge))


def backoff(times: tuple[float, float]) -> Backoff:
    return Backoff(first=times[0], most=times[1], random_bytes=os.urandom)


@dataclass(frozen=True, kw_only=True)
class Acting:
    """An agent in a world, and what a test looks at."""

    runtime: AgentRuntime
    parts: SessionParts
    gate: BookGate
    host: MemoryHost


def acting(world: World) -> Acting:
    """Build an agent as bootstrap.py does. Must run on the event loop."""
    plane, keys, book = world.plane, world.keys, LeaseBook()
    clock = GuardedClock(world.boot_ns, on_doubt=book.doubt)
    desk = StatementDesk(keys, clock)
    host = MemoryHost(plane.content_keys)
    gate = BookGate(
        book, trust_domain=TRUST_DOMAIN, tenant=TENANT, clock=clock, wall_clock=lambda: 0
    )
    parts = SessionParts(
        maker=EvidenceMaker(trust=plane.trust, keys=keys, attester=world.attester),
        keyring=HpkeKeyring(random_bytes=os.urandom, now_ns=clock()),
        book=book,
        holdings=Holdings(
            trust=plane.trust,
            keys=keys,
            book=book,
            gate=gate,
            keeper=ModelKeeper(host, Catalog(), clock=clock, random_bytes=os.urandom),
            desk=desk,
            clock=clock,
        ),
        desk=desk,
        standing=Standing(),
        pacing=Pacing(book, backoff(ATTEST)),
        clock=clock,
        workloads=("files",),
    )
    runtime = AgentRuntime(
        plane=cast("ControlPlane", world),  # both as far as a runtime asks
        enroller=cast("Enroller", world),
        parts=parts,
        delays=DELAYS,
        random_bytes=os.urandom,
    )
    return Acting(runtime=runtime, parts=parts, gate=gate, host=host)
