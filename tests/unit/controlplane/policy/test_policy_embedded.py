"""The embedded engine: answers, deadlines, replacement of workers, and a pause for the deadly."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.domain.policies import Layer, PolicyKind, ReleaseAnswer
from sealward.controlplane.domain.policy_composition import Answered, Silent, outcome
from sealward.controlplane.domain.policy_engine import (
    EngineFault,
    LayerPolicy,
    PolicyEngineError,
)

SPIN = (
    "allow if { some x in numbers.range(1, 100000); some y in numbers.range(1, 100000); x * y < 0 }"
)
REST = "\nreasons := set()\nobligations := {}\n"
ECHO = """
allow := input.allow
reasons contains {
    "code": "seen", "claim": null, "expected": input.text,
    "actual": data.reference.measurement.aa.name, "hint": "h"
} if data.reference.measurement.aa
obligations := {"ttl_seconds": data.sealward.release.ttl}
"""


PolicyOf = Callable[..., LayerPolicy]
Start = Callable[..., EmbeddedEngine]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(clock: Clock) -> Iterator[Callable[..., EmbeddedEngine]]:
    started: list[EmbeddedEngine] = []

    def make(**settings: object) -> EmbeddedEngine:
        chosen = EngineSettings(**{"load_seconds": 10.0, **settings})  # type: ignore[arg-type]  # test shorthand
        started.append(EmbeddedEngine(chosen, clock))
        return started[-1]

    yield make
    for engine in started:
        engine.close()


def fault_of(call: Callable[[], object]) -> PolicyEngineError:
    with pytest.raises(PolicyEngineError) as caught:
        call()
    return caught.value


def children() -> set[int]:
    task = Path(f"/proc/self/task/{os.getpid()}/children")
    everywhere = [p.read_text() for p in task.parent.parent.glob("*/children")]
    return {int(pid) for text in everywhere for pid in text.split()}


def test_a_policy_sees_its_input_its_data_and_the_reference_of_this_request(
    engine: EmbeddedEngine, policy_of: PolicyOf
):
    policy = policy_of(ECHO, files={"data.json": b'{"sealward":{"release":{"ttl":7}}}'})
    first = engine.evaluate(
        policy, b'{"allow":true,"text":"\xc3\xa9"}', b'{"measurement":{"aa":{"name":"n"}}}'
    )
    assert first == (
        b'{"allow":true,"obligations":{"ttl_seconds":7},"reasons":[{"actual":"n","claim":null,'
        b'"code":"seen","expected":"\xc3\xa9","hint":"h"}]}'
    )
    second = engine.evaluate(policy, b'{"allow":false}', b'{"measurement":{"bb":{}}}')
    assert second == b'{"allow":false,"obligations":{"ttl_seconds":7},"reasons":[]}'


def test_integers_are_exact_and_text_is_text(engine: EmbeddedEngine, policy_of: PolicyOf):
    policy = policy_of(
        "allow := input.n == 9007199254740991\nreasons := [input.n]\nobligations := {}"
    )
    answer = engine.evaluate(policy, b'{"n":9007199254740991}')
    assert answer == b'{"allow":true,"obligations":{},"reasons":[9007199254740991]}'


def test_a_name_without_value_is_undefined_and_named(engine: EmbeddedEngine, policy_of: PolicyOf):
    policy = policy_of("allow if input.yes\nreasons := set()\n")
    error = fault_of(lambda: engine.evaluate(policy, b"{}"))
    assert (error.fault, error.detail) == (
        EngineFault.UNDEFINED, "no value for allow, obligations"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("allow := 1 +", "policy.rego:5:9: expecting"),
        ("allow := to_number(input.text)", "policy.rego:4:25: could not parse"),
        ("allow := nothing_like_this", "policy.rego:4:10: "),
        ("allow := true\nallow := false", "policy.rego:5:1: "),
        ("allow := 0.5", "canonical"),
        ("allow := time.now_ns()", "not available"),
        ("allow := opa.runtime()", "not available"),
        ('allow := http.send({"method": "GET", "url": "http://127.0.0.1"})', "not available"),
    ],
)
def test_errors_say_where_in_one_line(
    engine: EmbeddedEngine, policy_of: PolicyOf, body: str, says: str
):
    policy = policy_of(body + REST)
    error = fault_of(lambda: engine.evaluate(policy, b'{"text":"x"}'))
    assert error.fault is EngineFault.ERROR
    assert says in error.detail
    assert "\n" not in error.detail
    assert "backtrace" not in error.detail


def test_a_module_outside_the_root_is_refused_by_the_worker_too(
    engine: EmbeddedEngine, policy_of: PolicyOf
):
    """The worker asks the engine which packages it understood, whatever the text looked like."""
    policy = policy_of(
        "allow := true" + REST, files={"other.rego": b"package sealward.appraisal\nx := 1\n"}
    )
    error = fault_of(lambda: engine.evaluate(policy, b"{}"))
    assert "outside sealward.release" in error.detail


def test_a_slow_policy_costs_one_deadline_and_one_worker(start: Start, policy_of: PolicyOf):
    engine = start(deadline_seconds=0.2)
    policy = policy_of(SPIN + REST)
    before = children()
    engine.prepare(policy)
    assert len(children() - before) == 1
    began = time.monotonic()
    error = fault_of(lambda: engine.evaluate(policy, b"{}"))
    assert error.fault is EngineFault.TIMEOUT
    assert 0.2 <= time.monotonic() - began < 2
    assert not children() - before


def test_a_policy_that_kills_in_a_row_is_paused_and_tried_again(
    start: Start, clock: Clock, policy_of: PolicyOf
):
    engine = start(deadline_seconds=0.1, kills_before_pause=2, pause_seconds=30)
    policy = policy_of("allow if input.fine\n" + SPIN + REST)
    for _ in range(2):
        assert fault_of(lambda: engine.evaluate(policy, b"{}")).fault is EngineFault.TIMEOUT
    began = time.monotonic()
    paused = fault_of(lambda: engine.evaluate(policy, b"{}"))
    assert paused.fault is EngineFault.BUSY
    assert "2 workers in a row" in paused.detail
    assert time.monotonic() - began < 0.1
    clock.now += 29.9
    assert fault_of(lambda: engine.evaluate(policy, b"{}")).fault is EngineFault.BUSY
    clock.now += 0.2
    assert fault_of(lambda: engine.evaluate(policy, b"{}")).fault is EngineFault.TIMEOUT
    assert fault_of(lambda: engine.evaluate(policy, b"{}")).fault is EngineFault.BUSY


def test_an_answer_ends_the_row(start: Start, policy_of: PolicyOf):
    engine = start(deadline_seconds=0.3, kills_before_pause=2)
    policy = policy_of("allow if not input.spin\n" + SPIN.replace("{", "{ input.spin;", 1) + REST)
    for _ in range(3):
        assert fault_of(lambda: engine.evaluate(policy, b'{"spin":true}')).fault is (
            EngineFault.TIMEOUT
        )
        assert b'"allow":true' in engine.evaluate(policy, b"{}")


def test_errors_of_the_policy_do_not_pause_it(start: Start, policy_of: PolicyOf):
    engine = start(kills_before_pause=1, deadline_seconds=5)
    policy = policy_of("allow := to_number(input.text)" + REST)
    for _ in range(3):
        assert fault_of(lambda: engine.evaluate(policy, b'{"text":"x"}')).fault is (
            EngineFault.ERROR
        )


def test_a_worker_that_is_killed_from_outside_is_replaced(start: Start, good_policy: LayerPolicy):
    engine = start(deadline_seconds=5)
    before = children()
    engine.prepare(good_policy)
    (worker,) = children() - before
    os.kill(worker, 9)
    error = fault_of(lambda: engine.evaluate(good_policy, b"{}"))
    assert (error.fault, error.detail) == (EngineFault.CRASHED, "the worker ended: SIGKILL")
    assert b'"allow":true' in engine.evaluate(good_policy, b"{}")


def test_an_error_is_never_longer_than_a_reason_may_be(engine: EmbeddedEngine, policy_of: PolicyOf):
    policy = policy_of("allow := " + "x" * 5000 + REST)
    assert len(fault_of(lambda: engine.evaluate(policy, b"{}")).detail) <= 512


def test_a_worker_is_recycled(start: Start, good_policy: LayerPolicy):
    engine = start(recycle_after=3, deadline_seconds=5)
    before = children()
    seen: set[int] = set()
    for _ in range(9):
        engine.evaluate(good_policy, b"{}")
        seen |= children() - before
    assert len(seen) >= 2


def test_layers_scopes_and_revisions_never_share_a_worker(start: Start, policy_of: PolicyOf):
    engine = start()
    before = children()
    body = "allow := true" + REST
    policies = [
        policy_of(body),
        policy_of(body, layer=Layer.TEAM),
        policy_of(body, scope="tenant/other"),
        policy_of(body + "\n# another revision\n"),
    ]
    for policy in policies:
        engine.prepare(policy)
    assert len(children() - before) == len(policies)
    engine.close()
    assert not children() - before


def test_the_least_recently_used_policy_gives_way(start: Start, policy_of: PolicyOf):
    engine = start(max_policies=2)
    before = children()
    policies = [policy_of("allow := true" + REST, scope=f"tenant/{at}") for at in range(4)]
    for policy in policies:
        engine.prepare(policy)
    assert len(children() - before) == 2
    engine.retire(policies[-1])
    assert len(children() - before) == 1


def test_many_callers_share_a_worker_in_turn(start: Start, policy_of: PolicyOf):
    engine = start(pool_size=2, deadline_seconds=10)
    policy = policy_of("allow := true\nreasons := [input.n]\nobligations := {}")
    wrong: list[object] = []

    def call(number: int) -> None:
        for at in range(50):
            n = number * 1000 + at
            answer = engine.evaluate(policy, b'{"n":%d}' % n)
            if answer != b'{"allow":true,"obligations":{},"reasons":[%d]}' % n:
                wrong.append(answer)

    before = children()
    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(children() - before) == 2


def test_a_caller_that_finds_no_place_in_time_is_told_so(start: Start, policy_of: PolicyOf):
    engine = start(deadline_seconds=0.3, load_seconds=10)
    policy = policy_of(SPIN + REST)
    engine.prepare(policy)
    faults: list[EngineFault] = []

    def call() -> None:
        faults.append(fault_of(lambda: engine.evaluate(policy, b"{}")).fault)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert EngineFault.BUSY in faults
    assert EngineFault.TIMEOUT in faults


def test_silence_becomes_a_reason_and_an_answer_an_answer(
    engine: EmbeddedEngine, policy_of: PolicyOf
):
    silent = outcome(ReleaseAnswer, engine, policy_of("allow := true\n"), b"{}")
    assert isinstance(silent, Silent)
    assert silent.reason.code == "policy_undefined"
    wrong = outcome(ReleaseAnswer, engine, policy_of('allow := "yes"' + REST), b"{}")
    assert isinstance(wrong, Silent)
    assert wrong.reason.actual == "sealward.release: allow is not true or false"
    said = outcome(ReleaseAnswer, engine, policy_of("allow := true" + REST), b"{}")
    assert isinstance(said, Answered)
    assert said.answer.allow


def test_each_kind_is_asked_its_own_question(engine: EmbeddedEngine, policy_of: PolicyOf):
    body = 'answer := "pend"\nlabels := {}\nreasons := []\n'
    policy = policy_of(body, kind=PolicyKind.ENROLLMENT)
    assert engine.evaluate(policy, b"{}") == b'{"answer":"pend","labels":{},"reasons":[]}'
