"""F16, F17: after a fence nothing is granted under the old state, whatever runs beside what."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fakes.control_plane import (
    GOOD,
    IMAGES,
    OTHER,
    WORKLOAD,
    World,
    chip,
    image,
    shipped_files,
    world,
)
from fakes.hooked_database import Crash, HookedDatabase
from fakes.instances import Instance, admitted, lease_states, leased
from fakes.state import NOW

from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Conflict
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.records import JsonText
from sealward.controlplane.domain.sweeps import Sweep, SweepState
from sealward.controlplane.services.ports import Transaction
from sealward.protos.terms import LeaseTermsState
from sealward.verifier.rats.binding import Purpose
from sealward.verifier.rats.result import Posture
from sealward.verifier.wire import json

MANIFEST = '{"roots":["sealward/release"],"rego_version":1}'
DENY_ALL = """package sealward.release

import rego.v1

allow := false

obligations := {}

reasons contains {
	"code": "closed",
	"claim": null,
	"expected": null,
	"actual": null,
	"hint": "wait until the release is open again",
}
"""


def deny_all(here: World) -> None:
    here.activate(PolicyKind.RELEASE, {".manifest": MANIFEST, "policy.rego": DENY_ALL})


CAUSES: dict[str, Callable[[World], object]] = {
    "a measurement is withdrawn": lambda here: here.withdraw(),
    "a reference set is revoked": lambda here: here.plane.admin.references.revoke(
        here.admin, IMAGES, reason="a test"
    ),
    "a platform is denied": lambda here: here.plane.admin.platforms.deny(
        here.admin, chip().platform_id or "", note="a test"
    ),
    "a stricter policy is activated": deny_all,
    "a model is withdrawn": lambda here: here.plane.admin.models.withdraw(
        here.admin, WORKLOAD, "demo", 1, reason="a test"
    ),
}


def active(here: World, *instances: Instance) -> list[str]:
    return [
        lease
        for instance in instances
        for lease, (state, _, _) in lease_states(here, instance).items()
        if state == "active"
    ]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("grant", ["first", "renewal"])
def test_a_grant_evaluated_before_a_fence_never_commits_after_it(
    here: World, cause: str, grant: str
) -> None:
    instance = leased(here) if grant == "renewal" else admitted(here)
    fenced: list[int] = []

    def fence_once() -> None:
        if not fenced:
            fenced.append(1)
            CAUSES[cause](here)

    service = replace(
        here.plane.attestation,
        database=HookedDatabase(here.plane.database, before_write=fence_once),
    )
    answer = service.attest(instance.attest_call(instance.presented(here, Purpose.ATTEST)))
    assert fenced
    assert answer.content_keys == ()
    leases = instance.verified(answer.terms).terms.leases
    if cause != "a platform is denied":  # appraisal does not know platforms: the sweep rejects it
        assert all(lease.state is LeaseTermsState.ENDED for lease in leases)
        assert active(here, instance) == []
    here.plane.sweeper.run()
    assert active(here, instance) == []


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_ends_what_was_granted(here: World, cause: str) -> None:
    instance = leased(here)
    CAUSES[cause](here)
    assert active(here, instance), "the fence alone ends nothing: its sweep does"
    assert here.plane.sweeper.run() == 1
    assert active(here, instance) == []
    assert here.rung == [instance.node_id]
    assert here.rows("SELECT count(*) FROM sweeps WHERE state = 'running'") == [(0,)]
    (revocation,) = here.rows(
        "SELECT cose FROM signed_terms WHERE node_id = ? AND kind = 'revocation'",
        instance.node_id,
    )
    terms = instance.verified(bytes(revocation[0])).terms  # type: ignore[call-overload]  # a blob
    assert terms.sequence == instance.sequence + 1
    assert [lease.lease_id for lease in terms.leases] == list(instance.held)


def test_the_other_nodes_keep_theirs(here: World) -> None:
    losing, staying = leased(here), leased(here, measurement=OTHER)
    here.withdraw()
    assert here.plane.sweeper.run() == 1
    assert active(here, losing) == []
    assert len(active(here, staying)) == 1


# Exhaustive interleavings.


@dataclass
class Turnstile:
    """Lets actors run one database operation at a time, in the order of a schedule."""

    schedule: list[str]
    _turns: dict[str, threading.Semaphore] = field(default_factory=dict)
    _stopped: dict[str, threading.Semaphore] = field(default_factory=dict)
    _finished: set[str] = field(default_factory=set)
    _errors: list[BaseException] = field(default_factory=list)

    def pause(self, name: str) -> None:
        """Called by an actor before each of its steps."""
        self._stopped[name].release()
        assert self._turns[name].acquire(timeout=30)

    def play(self, actors: dict[str, Callable[[], object]]) -> None:
        """Run every actor to its end; after the schedule, one after another."""
        for name in actors:
            self._turns[name], self._stopped[name] = threading.Semaphore(0), threading.Semaphore(0)
        threads = [threading.Thread(target=self._run, args=item) for item in actors.items()]
        for thread in threads:
            thread.start()
        for name in actors:
            assert self._stopped[name].acquire(timeout=30)
        rest = itertools.chain.from_iterable(itertools.repeat(name, 40) for name in actors)
        for name in (*self.schedule, *rest):
            if name not in self._finished:
                self._turns[name].release()
                assert self._stopped[name].acquire(timeout=30)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        for error in self._errors:
            raise error

    def _run(self, name: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Conflict:
            pass  # told to try again: nothing was granted
        except BaseException as error:  # noqa: BLE001 - shown by `play`
            self._errors.append(error)
        finally:
            self._finished.add(name)
            self._stopped[name].release()


def gated(here: World, turnstile: Turnstile, name: str) -> HookedDatabase:
    return HookedDatabase(
        here.plane.database,
        before_read=lambda: turnstile.pause(name),
        before_write=lambda: turnstile.pause(name),
    )


def orders(**steps: int) -> Iterator[list[str]]:
    """Every order of that many steps of each actor."""
    if not any(steps.values()):
        yield []
    for name, left in steps.items():
        if left:
            for rest in orders(**{**steps, name: left - 1}):
                yield [name, *rest]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("shared")) as opened:
        yield opened


def fresh_image(here: World, number: int) -> tuple[str, bytes]:
    """A set with one measurement that only this schedule's nodes have."""
    digest = number.to_bytes(48, "big")
    name = f"images-{number}"
    document = {"name": name, "not_after": None, "values": [image(digest)]}
    here.plane.admin.references.import_set(here.admin, json.canonical(document), activate=True)  # type: ignore[arg-type]  # plain JSON
    here.plane.sweeper.run()
    return name, digest


def require_fenced(here: World, first_entry: int, *instances: Instance) -> None:
    """No decision that stands after the fence in the audit log granted or renewed anything."""
    kinds = here.rows(
        "SELECT kind, body FROM audit_entries WHERE arrival > ? ORDER BY arrival", first_entry
    )
    fenced = False
    for kind, body in kinds:
        fenced = fenced or kind == AuditKind.scope_fenced
        if fenced and kind == AuditKind.node_attested:
            assert '"state":"granted"' not in str(body)
            assert '"state":"renewed"' not in str(body)
    assert fenced
    assert active(here, *instances) == []


_numbers = itertools.count(1)


@pytest.mark.integration
@pytest.mark.parametrize("schedule", tuple(orders(A=2, B=2, W=2)), ids="".join)
def test_two_attestations_and_a_withdrawal_in_every_order(
    shared: World, schedule: list[str]
) -> None:
    """A renews, B asks for its first lease (read and commit each); W fences, then sweeps."""
    here = shared
    name, digest = fresh_image(here, next(_numbers))
    a, b = leased(here, measurement=digest), admitted(here, measurement=digest)
    calls = [i.attest_call(i.presented(here, Purpose.ATTEST)) for i in (a, b)]
    ((before,),) = here.rows("SELECT max(arrival) FROM audit_entries")
    turnstile = Turnstile(schedule)

    def withdraw() -> None:
        turnstile.pause("W")
        here.plane.admin.references.withdraw(
            here.admin, name, "measurement", digest.hex(), reason="a test"
        )
        turnstile.pause("W")
        here.plane.sweeper.run()

    def attest(name: str, number: int) -> Callable[[], object]:
        service = replace(here.plane.attestation, database=gated(here, turnstile, name))
        return lambda: service.attest(calls[number])

    turnstile.play({"A": attest("A", 0), "B": attest("B", 1), "W": withdraw})
    here.plane.sweeper.run()
    require_fenced(here, int(str(before)), a, b)


_SWEEP_STEPS = 7  # fence, sweeps, page, the node seen and ended, cursor, done


@pytest.mark.integration
@pytest.mark.parametrize("schedule", tuple(orders(A=2, W=_SWEEP_STEPS)), ids="".join)
def test_a_renewal_between_any_two_steps_of_a_sweep(shared: World, schedule: list[str]) -> None:
    here = shared
    name, digest = fresh_image(here, next(_numbers))
    a = leased(here, measurement=digest)
    call = a.attest_call(a.presented(here, Purpose.ATTEST))
    ((before,),) = here.rows("SELECT max(arrival) FROM audit_entries")
    turnstile = Turnstile(schedule)
    sweeper = replace(here.plane.sweeper, database=gated(here, turnstile, "W"))
    service = replace(here.plane.attestation, database=gated(here, turnstile, "A"))

    def withdraw() -> None:
        turnstile.pause("W")
        here.plane.admin.references.withdraw(
            here.admin, name, "measurement", digest.hex(), reason="a test"
        )
        sweeper.run()

    turnstile.play({"A": lambda: service.attest(call), "W": withdraw})
    require_fenced(here, int(str(before)), a)
    assert here.rows("SELECT count(*) FROM sweeps WHERE state = 'running'") == [(0,)]


# Crashes.


def test_a_crash_between_fence_and_sweep_is_made_good_at_the_next_start(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        instance = leased(here)
        here.withdraw()
    with world(tmp_path) as here:
        assert len(active(here, instance)) == 1
        instance.content_keys.clear()
        assert here.plane.sweeper.run() == 1
        assert active(here, instance) == []
        assert here.plane.sweeper.run() == 0


@pytest.mark.integration
def test_a_sweep_may_be_killed_at_any_step(tmp_path: Path) -> None:
    """Whatever it crashed at, running it again ends in one state, and every lease ends once."""
    for survives in range(20):
        with world(tmp_path / str(survives)) as here:
            nodes = [leased(here), leased(here), leased(here, measurement=OTHER)]
            here.withdraw()
            left = [survives]

            def kill(left: list[int] = left) -> None:
                if left[0] == 0:
                    raise Crash
                left[0] -= 1

            database = HookedDatabase(here.plane.database, before_read=kill, before_write=kill)
            try:
                replace(here.plane.sweeper, database=database).run()
                finished = True
            except Crash:
                finished = False
        with world(tmp_path / str(survives)) as here:
            here.plane.sweeper.run()
            assert active(here, *nodes[:2]) == []
            assert len(active(here, nodes[2])) == 1
            ends = here.rows("SELECT count(*) FROM signed_terms WHERE kind = 'revocation'")
            assert ends == [(2,)]
            assert here.rows("SELECT count(*) FROM sweeps WHERE state = 'running'") == [(0,)]
        if finished:
            return
    raise AssertionError("a sweep of three nodes takes fewer steps")


# Sweeps only lower.


def test_a_sweep_that_runs_twice_changes_nothing_more(here: World) -> None:
    instance = leased(here)
    here.withdraw()
    here.plane.sweeper.run()
    quiet = ("sweeps", "audit_entries")
    before = here.content(without=quiet)
    here.plane.database.write(_rerun)
    assert here.plane.sweeper.run() == 0
    assert here.content(without=quiet) == before
    assert active(here, instance) == []


def _rerun(tx: Transaction) -> None:
    cause = {"code": "reference_withdrawn", "kind": "measurement", "key": GOOD.hex()}
    tx.sweeps.add(
        Sweep(
            sweep_id="again",
            cause=JsonText(json.canonical(dict(cause)).decode()),
            scope="reference",
            epoch=99,
            cursor=None,
            state=SweepState.running,
            started=NOW,
        )
    )


def test_a_looser_state_raises_nobody_without_fresh_evidence(here: World) -> None:
    """F17: recorded claims may lower a posture and never raise it."""
    instance = leased(here)
    deny_all(here)
    here.plane.sweeper.run()
    assert active(here, instance) == []
    here.activate(PolicyKind.RELEASE, shipped_files(PolicyKind.RELEASE))
    here.plane.sweeper.run()
    assert active(here, instance) == []
    floor = {"kind": "tcb_floor", "key": "snp/Milan", "value": {"snp": 255}}
    document = {"name": "higher", "not_after": None, "values": [floor]}
    here.plane.admin.references.import_set(here.admin, json.canonical(document), activate=True)  # type: ignore[arg-type]  # plain JSON
    here.plane.sweeper.run()
    here.plane.admin.references.revoke(here.admin, "higher", reason="it was too high")
    here.plane.sweeper.run()
    node = here.plane.database.read(lambda tx: tx.nodes.get(instance.node_id))
    assert node.posture is Posture.NONCOMPLIANT
    assert active(here, instance) == []
    instance.held, instance.sequence = frozenset(), 0
    assert instance.attest(here).posture is Posture.COMPLIANT
    assert len(active(here, instance)) == 1


def test_a_sweep_finds_every_holder_of_a_workload(here: World) -> None:
    """Leases are listed in their own order and in pages; a holder on a later page loses too."""
    nodes = [leased(here) for _ in range(3)]
    here.plane.admin.models.withdraw(here.admin, WORKLOAD, "demo", 1, reason="a test")
    assert here.plane.sweeper.run() == 3
    assert active(here, *nodes) == []
