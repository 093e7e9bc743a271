"""No path of the agent is tried again without a pause, and pauses grow: hours, on a clock of ours.

Every answer that ends something is given 50 times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes.agent_models import QuotingAttester
from fakes.agent_world import ATTEST, DELAYS, JumpingLoop, World, acting, backoff
from fakes.fake_control_plane import Plane, node_chain

from sealward.enclave_agent import bootstrap
from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.enclave_agent.clock import NS_PER_S
from sealward.enclave_agent.messages import (
    Admission,
    AttestAnswer,
    Denial,
    EnrollAnswer,
    ProtocolViolation,
)
from sealward.enclave_agent.pacing import ANSWER_NS
from sealward.enclave_agent.runtime import Ended
from sealward.enclave_agent.transport import Refused, Unreachable

ROUNDS = 50
LEAST_S = 0.1  # between any two acts of one kind, from the first on


def gaps_of(
    world: World, kind: str, *, rounds: int = ROUNDS, seconds: float = 3_600.0
) -> list[float]:
    """Run until the agent has done this once more than `rounds`; return the pauses between."""

    async def body() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(acting(world).runtime.run(stop))
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


def test_an_enrolment_waits_as_long_as_the_control_plane_asked() -> None:
    """Longer than its own first pauses, with jitter on top: not all nodes at the same instant."""
    pends = EnrollAnswer(
        admission=Admission.PEND, chain=(), denial=None, retry_after_s=4, sent_ns=0
    )
    gaps = gaps_of(World(admit=lambda _: pends), "enroll", rounds=20)
    assert min(gaps) >= 4
    assert len({round(gap, 3) for gap in gaps}) > len(gaps) / 2


def test_an_attestation_waits_as_long_as_the_control_plane_asked() -> None:
    """The same for a node that is not compliant and is told when it will be asked again."""
    world = World(decide=lambda world, answer: replace(leaseless(world, answer), again_s=4.0))
    world.plane.lease_model("files", "m")
    gaps = gaps_of(world, "attest", rounds=20)
    assert min(gaps) >= 4
    assert len({round(gap, 3) for gap in gaps}) > len(gaps) / 2


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
