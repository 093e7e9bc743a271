"""No path of the agent is tried again without a pause, and pauses grow: hours, on a clock of ours.

Every answer that ends something is given 50 times. The event loop's time is virtual: it jumps to
the next timer when nothing else is to be done, and stands still while a thread is at work.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from fakes.agent_models import MemoryHost, QuotingAttester
from fakes.fake_control_plane import Plane, PlaneNode, node_chain

from sealward.enclave_agent import bootstrap, own_thread
from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.enclave_agent.backoff import Backoff
from sealward.enclave_agent.clock import NS_PER_S
from sealward.enclave_agent.evidence import EvidenceMaker
from sealward.enclave_agent.gate import BookGate
from sealward.enclave_agent.holdings import Holdings
from sealward.enclave_agent.identity import HpkeKeyring, InstanceKeys
from sealward.enclave_agent.inference.catalog import Catalog
from sealward.enclave_agent.leases import LeaseBook
from sealward.enclave_agent.messages import (
    Admission,
    AttestAnswer,
    Denial,
    EnrollAnswer,
    ProtocolViolation,
    read_attestation,
)
from sealward.enclave_agent.models import ModelKeeper
from sealward.enclave_agent.pacing import ANSWER_NS, Pacing
from sealward.enclave_agent.runtime import AgentRuntime, Delays, Ended
from sealward.enclave_agent.session import SessionParts
from sealward.enclave_agent.standing import Standing
from sealward.enclave_agent.statements import StatementDesk
from sealward.enclave_agent.transport import Refused, Unreachable
from sealward.protos import agent_pb2
from sealward.verifier.rats.binding import Purpose

ROUNDS = 50
DELAYS = Delays(connect=(0.25, 2.0), admit=(0.25, 4.0), pend=(0.5, 6.0), reject=(0.5, 8.0))
ATTEST = (0.25, 5.0)
LEAST_S = 0.1  # between any two acts of one kind, from the first on


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


def boot_ns() -> int:
    return 1_000 * NS_PER_S + int(asyncio.get_running_loop().time() * NS_PER_S)


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
    """

    admit: Callable[[World], EnrollAnswer] = lambda world: world.admitted()
    stream: Callable[[], None] = lambda: None
    decide: Callable[[World, AttestAnswer], AttestAnswer] = lambda _, answer: answer
    pushes: bool = False
    pushes_at_farewell: bool = False
    offers: bool = True
    plane: Plane = field(default_factory=Plane)
    keys: InstanceKeys = field(default_factory=InstanceKeys.generate)
    attester: QuotingAttester = field(default_factory=QuotingAttester)
    acts: list[tuple[str, float]] = field(default_factory=list)

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
            sent_ns=boot_ns(),
        )

    def public(self) -> ec.EllipticCurvePublicKey:
        key = load_der_public_key(self.keys.tls_spki)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return key

    # --- what the runtime asks of its parts ------------------------------------------------------

    async def enroll(self) -> EnrollAnswer:
        self.act("enroll")
        return self.admit(self)

    @asynccontextmanager
    async def agent(self, _: object) -> AsyncIterator[World]:
        self.act("connect")
        yield self

    def watch(self) -> Stream:
        return Stream(self)

    async def attest(self, request: agent_pb2.AttestRequest) -> AttestAnswer:
        self.act("attest")
        said = self.plane.check(
            Purpose.ATTEST, request.ticket, request.binding, request.evidence, self.keys.tls_spki
        )
        answer = read_attestation(self.plane.decide(said, tuple(request.workloads)))
        return self.decide(self, answer)


class Stream:
    """The agent's end of a stream."""

    def __init__(self, world: World) -> None:
        self._world = world
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
        challenge = self._world.plane.challenge(self._world.keys.tls_spki)
        self._pushed.put_nowait(agent_pb2.ServerMessage(challenge=challenge))


def backoff(times: tuple[float, float]) -> Backoff:
    return Backoff(first=times[0], most=times[1], random_bytes=os.urandom)


def runtime(world: World) -> AgentRuntime:
    plane, keys, book = world.plane, world.keys, LeaseBook()
    desk = StatementDesk(keys, boot_ns)
    host = MemoryHost(plane.content_keys)
    gate = BookGate(book, trust_domain="t", tenant="t", clock=boot_ns, wall_clock=lambda: 0)
    parts = SessionParts(
        maker=EvidenceMaker(trust=plane.trust, keys=keys, attester=world.attester),
        keyring=HpkeKeyring(random_bytes=os.urandom, now_ns=boot_ns()),
        book=book,
        holdings=Holdings(
            trust=plane.trust,
            keys=keys,
            book=book,
            gate=gate,
            keeper=ModelKeeper(host, Catalog(), clock=boot_ns, random_bytes=os.urandom),
            desk=desk,
            clock=boot_ns,
        ),
        desk=desk,
        standing=Standing(),
        pacing=Pacing(book, backoff(ATTEST)),
        clock=boot_ns,
        workloads=("files",),
    )
    return AgentRuntime(
        plane=world, enroller=world, parts=parts, delays=DELAYS, random_bytes=os.urandom
    )


def gaps_of(
    world: World, kind: str, *, rounds: int = ROUNDS, seconds: float = 3_600.0
) -> list[float]:
    """Run until the agent has done this once more than `rounds`; return the pauses between."""

    async def body() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(runtime(world).run(stop))
        while len(world.times(kind)) <= rounds and not running.done():
            await asyncio.sleep(0.25)
            assert asyncio.get_running_loop().time() < seconds, world.acts[-5:]
            assert len(world.acts) < 5_000, "it loops without a pause"
        stop.set()
        await running

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(body())
    times = world.times(kind)
    return [after - before for before, after in pairwise(times)]


def refuse(code: str) -> NoReturn:
    raise Refused(code, "c-1")


def lose() -> NoReturn:
    raise Unreachable("down")


def not_admitted(admission: Admission) -> Callable[[World], EnrollAnswer]:
    return lambda _: EnrollAnswer(
        admission=admission, chain=(), denial=None, retry_after_s=0, sent_ns=0
    )


def garbage(_: World) -> NoReturn:
    raise ProtocolViolation("no certificate at all")


def renewed(world: World, answer: AttestAnswer) -> AttestAnswer:
    return replace(answer, chain=tuple(node_chain(world.plane, world.public())))


def leaseless(world: World, answer: AttestAnswer) -> AttestAnswer:
    denial = Denial(code="reference_withdrawn", correlation_id="c-1")
    world.plane.denial = "reference_withdrawn"
    return replace(answer, denial=denial)


def unpinned(world: World) -> World:
    world.plane.trust  # noqa: B018 - pins the key that signs until now
    world.plane.signing = Ed25519PrivateKey.generate()
    return world


def ill_obliged(world: World) -> World:
    """Two workloads leased for long, one of them under an obligation that no agent knows."""
    world.plane.lease_model("other", "m")
    world.plane.edit_terms = lambda terms: replace(
        terms,
        leases=tuple(
            replace(lease, obligations={"colour": 1}) if lease.workload == "files" else lease
            for lease in terms.leases
        ),
    )
    decide = world.plane.decide
    object.__setattr__(world.plane, "decide", lambda said, _: decide(said, ("files", "other")))
    return world


def after_being_heard(*_: object) -> AttestAnswer:
    raise Unreachable("the stream broke")


def refused_attestation(code: str) -> Callable[[World, AttestAnswer], AttestAnswer]:
    return lambda *_: refuse(code)


CASES: dict[str, tuple[Callable[[], World], str, float]] = {
    "pends": (lambda: World(admit=not_admitted(Admission.PEND)), "enroll", DELAYS.pend[1]),
    "is rejected": (
        lambda: World(admit=not_admitted(Admission.REJECT)),
        "enroll",
        DELAYS.reject[1],
    ),
    "enrolment is refused": (
        lambda: World(admit=lambda _: refuse("join_token_spent")),
        "enroll",
        DELAYS.reject[1],
    ),
    "enrolment is unreachable": (
        lambda: World(admit=lambda _: lose()),
        "enroll",
        DELAYS.connect[1],
    ),
    "the answer is no contract's": (lambda: World(admit=garbage), "enroll", DELAYS.connect[1]),
    "the certificate is over at once": (
        lambda: World(admit=lambda world: world.admitted(life=timedelta())),
        "enroll",
        DELAYS.admit[1],
    ),
    "the certificate is of a life below the backdating": (
        lambda: World(admit=lambda world: world.admitted(life=timedelta(seconds=-20))),
        "enroll",
        DELAYS.admit[1],
    ),
    "the stream is refused": (
        lambda: World(stream=lambda: refuse("node_quarantined")),
        "enroll",
        DELAYS.admit[1],
    ),
    "the node is unknown": (
        lambda: World(stream=lambda: refuse("node_unknown")),
        "enroll",
        DELAYS.admit[1],
    ),
    "the attestation says not admitted": (
        lambda: World(decide=refused_attestation("node_pending")),
        "enroll",
        DELAYS.admit[1],
    ),
    "the stream never opens": (lambda: World(stream=lose), "connect", DELAYS.connect[1]),
    "the stream breaks after every answer": (
        lambda: World(pushes=True, decide=after_being_heard),
        "connect",
        DELAYS.connect[1],
    ),
    "every answer brings a certificate": (
        lambda: World(pushes=True, decide=renewed),
        "connect",
        DELAYS.connect[1],
    ),
    "the attestation is refused": (
        lambda: World(decide=refused_attestation("node_quarantined")),
        "attest",
        ATTEST[1],
    ),
    "the attestation is denied": (lambda: World(decide=leaseless), "attest", ATTEST[1]),
    "the terms are untrusted": (lambda: unpinned(World()), "attest", ATTEST[1]),
    "one of two leases is refused": (lambda: ill_obliged(World()), "attest", ATTEST[1]),
    "every lease is over at once": (
        lambda: World(plane=Plane(ttl_ms=5)),
        "attest",
        ATTEST[1],
    ),
    "no challenge comes": (lambda: World(offers=False), "want", ANSWER_NS / NS_PER_S),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_tried_again_without_a_growing_pause(case: str) -> None:
    make, kind, most_s = CASES[case]
    world = make()
    world.plane.lease_model("files", "m")
    gaps = gaps_of(world, kind)
    assert len(gaps) >= ROUNDS
    assert min(gaps) >= LEAST_S
    assert min(gaps[-30:]) >= most_s / 2


@pytest.mark.parametrize("purpose", ["enrolment", "attestation"])
def test_evidence_that_cannot_be_had_is_asked_for_ever_more_rarely(purpose: str) -> None:
    """The runtime gathers evidence to enrol, the session to attest."""
    world = World()
    world.plane.lease_model("files", "m")
    most_s = ATTEST[1]
    if purpose == "enrolment":
        most_s = DELAYS.connect[1]

        def broken(_: World) -> NoReturn:
            raise AttesterUnavailable("it is broken.")

        world.admit = broken
        kind = "enroll"
    else:
        kind = "want"
        world.attester = QuotingAttester(broken=True)
    gaps = gaps_of(world, kind)
    assert min(gaps) >= LEAST_S
    assert min(gaps[-30:]) >= most_s / 2


@pytest.mark.parametrize("off_h", [-1, 24 * 365])
def test_a_guest_clock_that_is_wrong_costs_no_enrolment(off_h: int) -> None:
    """To a guest whose clock is a year ahead, every fresh certificate looks a year over."""
    world = World(admit=lambda world: world.admitted(off_h=off_h))
    world.plane.lease_model("files", "m")
    gaps = gaps_of(world, "attest", rounds=10)  # renewals at nine tenths of a minute
    assert min(gaps) > 50
    assert len(world.times("enroll")) == 1


def test_a_node_that_is_forgotten_again_and_again_begins_anew_ever_more_rarely() -> None:
    """Every new instance is a new node to its control plane."""
    begun: list[tuple[float, str]] = []

    class Forgotten:
        async def run(self, _: asyncio.Event) -> Ended:
            return Ended.SPENT

    def begin(join_token: str) -> Any:  # noqa: ANN401 - all that is asked of it is `run`
        begun.append((asyncio.get_running_loop().time(), join_token))
        return Forgotten()

    async def body() -> None:
        stop = asyncio.Event()
        pauses = backoff((0.5, 30.0))
        running = asyncio.create_task(
            bootstrap.run(begin, stop, join_token="once", pauses=pauses)  # noqa: S106 - of this test
        )
        while len(begun) <= ROUNDS:  # noqa: ASYNC110 - virtual time passes by timers alone
            await asyncio.sleep(0.25)
        stop.set()
        await running

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(body())
    gaps = [after - before for (before, _), (after, _) in pairwise(begun)]
    assert min(gaps) >= 0.25
    assert min(gaps[10:]) >= 15
    # A join token admits one node, and another one that shows it is refused for ever.
    assert [token for _, token in begun] == ["once", *[""] * ROUNDS]


def test_an_agent_that_stops_asks_for_nothing_more() -> None:
    """A challenge that comes while it says farewell would lease what nobody holds."""
    world = World(pushes_at_farewell=True)
    world.plane.lease_model("files", "m")
    gaps_of(world, "attest", rounds=1)
    assert [kind for kind, _ in world.acts[-2:]] == ["attest", "wiped"]
