"""The machine sleeps and wakes: nothing is served past a horizon, and all is attested anew.

Sleep is what it is to a process: the boot-time clock jumps against the clock of timers, and the
connections of before are dead, though nobody closed them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import NoReturn

import pytest
from fakes.agent_terms import NONCE, grant, lease
from fakes.agent_world import DELAYS, Acting, JumpingLoop, World, acting
from fakes.fake_control_plane import Plane
from structlog.testing import capture_logs

from sealward.enclave_agent.backoff import Backoff
from sealward.enclave_agent.clock import NS_PER_S, ClockInDoubt, GuardedClock
from sealward.enclave_agent.inference.catalog import Catalog
from sealward.enclave_agent.inference.gate import Refusal, Refused
from sealward.enclave_agent.leases import LeaseBook, LeaseCode
from sealward.enclave_agent.lifecycle import AgentState
from sealward.enclave_agent.pacing import Pacing
from sealward.enclave_agent.runtime import ABSENT_NS, WATCHDOG_S, Ended
from sealward.enclave_agent.status import StatusSource
from sealward.protos.wipe import WipeCause, WipeStatement, verify

HOUR_NS = 3_600 * NS_PER_S
TTL_S = 60


class Night:
    """One agent that serves, and what a test does to its machine."""

    def __init__(self, world: World, agent: Acting, running: asyncio.Task[Ended]) -> None:
        self.world = world
        self.agent = agent
        self.running = running

    def sleep(self, ns: int) -> None:
        """Let the machine sleep: no task runs, no timer moves, the boot-time clock does."""
        self.world.slept_ns += ns

    def ask(self) -> str:
        """Ask for an inference; return "served" or why not."""
        try:
            permit = self.agent.gate.enter("m", self.world.plane.client_token("files"))
            permit.release()
        except Refused as refused:
            return refused.code
        return "served"

    async def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not condition():
            assert loop.time() < end, self.world.acts[-5:]
            assert not self.running.done(), self.running
            await asyncio.sleep(0.01)

    async def until_serving(self) -> None:
        await self.until(lambda: self.ask() == "served" and self.agent.host.alive())

    def statements(self) -> list[WipeStatement]:
        keys = self.world.keys
        return [
            verify(signed, public=keys.signing_public, node=keys.node)
            for signed in self.agent.parts.desk.waiting()
        ]


def spend(scene: Callable[[Night], Awaitable[None]], world: World | None = None) -> Night:
    """Run one scene with an agent that serves; then stop it, if nothing else did."""
    world = world or World(plane=Plane(ttl_ms=TTL_S * 1_000))
    world.plane.lease_model("files", "m")

    async def body() -> Night:
        stop = asyncio.Event()
        agent = acting(world)
        running = asyncio.create_task(agent.runtime.run(stop))
        night = Night(world, agent, running)
        try:
            await scene(night)
        finally:
            stop.set()
            await asyncio.wait({running})
        return night

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(body())


def test_nothing_is_served_past_the_horizon_before_any_task_has_run() -> None:
    """The first thing that happens on waking is a request: it is refused, and so is an output."""

    async def scene(night: Night) -> None:
        await night.until_serving()
        permit = night.agent.gate.enter("m", night.world.plane.client_token("files"))
        night.sleep(HOUR_NS)
        with pytest.raises(Refused) as raised:
            permit.release()
        assert raised.value.code is Refusal.LEASE_EXPIRED
        assert night.ask() == Refusal.LEASE_EXPIRED
        assert night.agent.parts.book.held() != ()  # nothing was wiped yet: it was the clock alone

    spend(scene)


def test_on_waking_it_wipes_connects_anew_and_attests_at_once() -> None:
    """Within the watchdog's beat and the spread of a fleet, however dead the old stream is."""

    async def scene(night: Night) -> None:
        await night.until_serving()
        (before,) = night.agent.parts.book.held()
        night.sleep(HOUR_NS)
        woke = asyncio.get_running_loop().time()
        await night.until(night.statements, 1.0)  # not the model's absence: it may be back already
        (statement,) = night.statements()
        assert (statement.cause, statement.leases) == (WipeCause.HORIZON, (before.lease_id,))
        await night.until_serving()
        took = asyncio.get_running_loop().time() - woke
        assert took <= WATCHDOG_S + DELAYS.wake[1] + 1.0
        (after,) = night.agent.parts.book.held()
        assert after.lease_id != before.lease_id
        # Its certificate of ten minutes was over too.
        acts = [kind for kind, at in night.world.acts if at >= woke and kind != "wiped"]
        assert acts == ["enroll", "connect", "want", "attest"]

    spend(scene)


def test_after_a_sleep_that_ends_before_the_horizon_it_serves_and_attests_anew() -> None:
    """The lease goes on, as it would have awake; the dead connection does not."""

    async def scene(night: Night) -> None:
        await night.until_serving()
        (before,) = night.agent.parts.book.held()
        connected = len(night.world.times("connect"))
        attested = len(night.world.times("attest"))
        night.sleep(TTL_S // 2 * NS_PER_S)
        assert night.ask() == "served"
        await night.until(lambda: len(night.world.times("connect")) > connected, 3.0)
        await night.until(lambda: len(night.world.times("attest")) > attested, 1.0)
        await night.until(lambda: night.agent.parts.standing.state is AgentState.COMPLIANT)
        (after,) = night.agent.parts.book.held()
        assert after.lease_id == before.lease_id
        assert after.horizon_ns > before.horizon_ns
        assert len(night.world.times("enroll")) == 1

    spend(scene)


@pytest.mark.parametrize("step", ["enroll", "attest"])
def test_a_call_that_was_under_way_is_given_up(step: str) -> None:
    """Its answer will never come, and a timer of the call would count waking seconds only."""

    async def scene(night: Night) -> None:
        await night.until(lambda: night.world.times(step))
        await asyncio.sleep(0.5)
        assert len(night.world.times(step)) == 1
        night.world.hangs = ""
        night.sleep(HOUR_NS)
        await night.until_serving()
        assert len(night.world.times(step)) == 2

    world = World(plane=Plane(ttl_ms=TTL_S * 1_000), hangs=step)
    spend(scene, world)


def test_a_pause_that_was_asked_for_is_kept_over_an_absence() -> None:
    """Stopping and continuing a process is no way around the control plane's refusal."""
    book = LeaseBook()
    book.accept_grant(grant(1, lease(ttl_ms=3_600_000)), nonce=NONCE, sent_ns=0, now_ns=0)
    pacing = Pacing(book, Backoff(first=60.0, most=60.0, random_bytes=os.urandom))
    pacing.failed(0)
    assert pacing.ask_at_ns() == 3_240 * NS_PER_S
    pacing.at_once()
    assert 30 * NS_PER_S <= pacing.ask_at_ns() <= 60 * NS_PER_S
    pacing.granted(0)
    assert pacing.ask_at_ns() == 3_240 * NS_PER_S


def test_a_fleet_that_wakes_as_one_comes_back_spread_over_the_whole_time() -> None:
    """Each agent draws its own instant; none waits longer than the longest."""
    waits = []

    async def scene(night: Night) -> None:
        await night.until_serving()
        for _ in range(40):
            connected = len(night.world.times("connect"))
            night.sleep(ABSENT_NS)
            woke = asyncio.get_running_loop().time()
            await night.until(lambda seen=connected: len(night.world.times("connect")) > seen)
            waits.append(night.world.times("connect")[-1] - woke)
            await asyncio.sleep(1.0)

    spend(scene)
    most_s = DELAYS.wake[1]
    assert max(waits) <= most_s + WATCHDOG_S + 0.01
    assert min(waits) < most_s / 4
    assert max(waits) > most_s * 3 / 4


def test_status_and_log_say_that_it_was_absent() -> None:
    async def scene(night: Night) -> None:
        await night.until_serving()
        source = StatusSource(parts=night.agent.parts, catalog=Catalog(), hardening=())
        assert source.snapshot()["last_absence"] is None
        with capture_logs() as logs:
            night.sleep(HOUR_NS)
            await asyncio.sleep(1.0)
        absence = source.snapshot()["last_absence"]
        assert isinstance(absence, dict)
        assert 3_600_000 <= absence["lasted_ms"] <= 3_600_100
        assert 800 <= absence["ended_ms_ago"] <= 1_000
        (said,) = [line for line in logs if line["event"].startswith("did not run for a while")]
        assert (said["log_level"], round(said["seconds"])) == ("warning", 3_600)

    spend(scene)


def test_a_busy_moment_is_no_absence() -> None:
    """Just below the bound nothing is dropped: keepalive sees to connections that died."""

    async def scene(night: Night) -> None:
        await night.until_serving()
        night.sleep(ABSENT_NS - NS_PER_S)
        await asyncio.sleep(1.0)
        assert night.agent.parts.standing.last_absence is None
        assert len(night.world.times("connect")) == 1

    spend(scene)


def set_back(night: Night) -> None:
    night.world.slept_ns -= 1


def unreadable(night: Night) -> None:
    def fail() -> NoReturn:
        raise PermissionError(1, "Operation not permitted")

    night.world.broken_clock = fail


@pytest.mark.parametrize(
    ("err", "why"), [(set_back, "went back by 1 ms"), (unreadable, "Operation not permitted")]
)
def test_a_clock_in_doubt_serves_nothing_and_ends_the_agent(
    err: Callable[[Night], None], why: str
) -> None:
    """At the very reading that shows it; then everything is wiped, and the reason is told."""

    async def scene(night: Night) -> None:
        await night.until_serving()
        permit = night.agent.gate.enter("m", night.world.plane.client_token("files"))
        err(night)
        with pytest.raises(Refused):
            permit.release()
        assert night.ask() == Refusal.LEASE_EXPIRED
        night.world.broken_clock = lambda: None  # a clock that is well again is not believed
        night.world.slept_ns += NS_PER_S
        assert night.ask() == Refusal.LEASE_EXPIRED
        await asyncio.wait({night.running}, timeout=10.0)

    night = spend(scene)
    with pytest.raises(ClockInDoubt, match=why):
        night.running.result()
    assert not night.agent.host.alive()
    assert [statement.cause for statement in night.statements()] == [WipeCause.HORIZON]
    assert night.agent.parts.standing.state is AgentState.STOPPED


def test_no_lease_begins_while_the_clock_is_in_doubt() -> None:
    """Whatever is signed: the lease book itself refuses it, and what it held is over."""
    book = LeaseBook()
    book.accept_grant(grant(1, lease(1)), nonce=NONCE, sent_ns=0, now_ns=0)
    assert len(book.live(0)) == 1
    book.doubt("it is a test")
    assert book.live(0) == ()
    late = book.accept_grant(grant(2, lease(1), lease(2)), nonce=NONCE, sent_ns=0, now_ns=0)
    assert late.held == ()
    assert [refusal.code for refusal in late.refused] == [
        LeaseCode.LEASE_ENDED,
        LeaseCode.HORIZON_PASSED,
    ]
    assert [held.lease_id[-1] for held in book.expire(0)] == [1]


def test_readings_of_a_guarded_clock_neither_fail_nor_go_back() -> None:
    """And every reading that errs is told before it is returned."""
    readings = iter((5, 7, 6, None, 8))
    told: list[str] = []

    def read() -> int:
        reading = next(readings)
        if reading is None:
            raise OSError(22, "Invalid argument")
        return reading

    clock = GuardedClock(read, on_doubt=told.append)
    assert [clock() for _ in range(2)] == [5, 7]
    assert told == []
    assert [clock() for _ in range(3)] == [7, 7, 8]
    assert told == [
        "the boot-time clock went back by 1 ms",
        "the boot-time clock cannot be read: Invalid argument",
    ]


def test_the_first_reason_of_a_doubt_is_the_one_that_is_told() -> None:
    book = LeaseBook()
    book.doubt("it went back")
    book.doubt("it cannot be read")
    assert book.in_doubt == "it went back"
