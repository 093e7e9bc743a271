"""An attester that can tell when its state changed has its agent attest at once, and not too often.

On the virtual time of agent_world: a second of watching takes none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise

from fakes.agent_models import QuotingAttester
from fakes.agent_world import ATTEST, Acting, JumpingLoop, World, acting
from fakes.fake_control_plane import Plane
from structlog.testing import capture_logs

from sealward.enclave_agent.attesters.port import AttesterUnavailable, Evidence
from sealward.enclave_agent.lifecycle import AgentState
from sealward.enclave_agent.session import LOOK_S, WATCH_S

LONG_MS = 24 * 3_600_000
LATE_S = 0.1


@dataclass
class WatchingAttester(QuotingAttester):
    """Evidence of a state that tests change; `restless` changes it after every quote."""

    state: int = 0
    quoted: int | None = None
    restless: bool = False
    in_doubt: bool = False
    looks: int = 0

    def collect(self, report_data: bytes) -> Evidence:
        evidence = super().collect(report_data)
        self.quoted = self.state
        self.state += self.restless
        return evidence

    def changed(self) -> bool:
        self.looks += 1
        if self.in_doubt:
            raise AttesterUnavailable("the TPM is lost.")
        return self.quoted is not None and self.quoted != self.state


def state_of(agent: Acting) -> AgentState:
    return agent.parts.standing.state


def watched(
    scene: Callable[[World, WatchingAttester, Acting], Awaitable[None]], ttl_ms: int = LONG_MS
) -> World:
    attester = WatchingAttester()
    world = World(plane=Plane(ttl_ms=ttl_ms), attester=attester)
    world.plane.lease_model("files", "m")

    async def body() -> None:
        stop = asyncio.Event()
        agent = acting(world)
        running = asyncio.create_task(agent.runtime.run(stop))
        for _ in range(100):
            await asyncio.sleep(0.05)
            if agent.parts.book.held():
                break
        await scene(world, attester, agent)
        stop.set()
        await running

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(body())
    return world


def test_an_unchanged_state_is_looked_at_every_second_and_attested_once() -> None:
    async def scene(world: World, attester: WatchingAttester, _: Acting) -> None:
        before = attester.looks
        await asyncio.sleep(100)
        assert 95 <= attester.looks - before <= 101
        assert len(world.times("attest")) == 1

    watched(scene)


def test_a_change_is_attested_within_a_look_of_watcher_and_asker_and_once() -> None:
    async def scene(world: World, attester: WatchingAttester, _: Acting) -> None:
        await asyncio.sleep(10.3)
        attester.state += 1
        changed = asyncio.get_running_loop().time()
        await asyncio.sleep(60)
        (at,) = (at for at in world.times("attest") if at >= changed)
        assert at - changed <= WATCH_S + LOOK_S + LATE_S
        assert len(world.times("want")) == 2  # the first of all, and this one

    watched(scene)


def test_a_state_that_never_rests_is_attested_once_a_second_at_most() -> None:
    async def scene(world: World, attester: WatchingAttester, _: Acting) -> None:
        attester.restless = True
        attester.state += 1
        await asyncio.sleep(100)
        times = world.times("attest")
        assert len(times) > 50
        assert min(after - before for before, after in pairwise(times)) >= WATCH_S - LATE_S

    watched(scene)


def test_a_change_whose_attestations_are_denied_is_asked_about_ever_more_rarely() -> None:
    async def scene(world: World, attester: WatchingAttester, agent: Acting) -> None:
        attester.restless = True
        attester.state += 1
        world.plane.denial = "reference_withdrawn"
        await asyncio.sleep(300)
        gaps = [after - before for before, after in pairwise(world.times("attest")[1:])]
        assert len(gaps) > 30
        assert min(gaps) >= 0.5 * ATTEST[0]
        assert min(gaps[-20:]) >= 0.5 * ATTEST[1]
        assert state_of(agent) is AgentState.REFUSED

    watched(scene)


def test_one_request_is_outstanding_at_most() -> None:
    """The challenge does not come: it is asked for again when it is late, not at every look."""

    async def scene(world: World, attester: WatchingAttester, _: Acting) -> None:
        world.offers = False
        attester.state += 1
        await asyncio.sleep(60)
        wants = world.times("want")[1:]
        assert len(wants) > 5
        assert min(after - before for before, after in pairwise(wants)) > 4.9

    watched(scene)


def test_a_state_that_cannot_be_told_is_attested_and_where_that_fails_leases_run_out() -> None:
    """Serving goes on until the horizon; nobody is asked more often than after any failure."""

    async def scene(world: World, attester: WatchingAttester, agent: Acting) -> None:
        attester.in_doubt = attester.broken = True
        wanted = len(world.times("want"))
        with capture_logs() as logged:
            await asyncio.sleep(WATCH_S + LOOK_S + LATE_S)
            assert len(world.times("want")) == wanted + 1
            await asyncio.sleep(20)
            assert state_of(agent) is AgentState.COMPLIANT
            await asyncio.sleep(41)
        assert agent.parts.book.held() == ()
        assert state_of(agent) is AgentState.ADMITTED
        assert len(world.times("attest")) == 1
        wants = world.times("want")[wanted:]
        gaps = [after - before for before, after in pairwise(wants)]
        assert min(gaps[8:]) >= 0.5 * ATTEST[1]
        told = [line for line in logged if line["event"].startswith("this machine's state")]
        assert [line["why"] for line in told] == ["in doubt: the TPM is lost."]
        attester.in_doubt = attester.broken = False
        await asyncio.sleep(ATTEST[1] + 1)
        assert state_of(agent) is AgentState.COMPLIANT

    watched(scene, ttl_ms=60_000)
