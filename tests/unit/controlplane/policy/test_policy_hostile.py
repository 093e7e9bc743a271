"""Hostile policies: each costs its own worker; the control plane and other layers do not notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from fakes.hostile_policies import CLASSES, HARMLESS, HOSTILE, REST, body

from sealward.controlplane.adapters.policy_engine.check import Problem, check
from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.adapters.policy_engine.shipped import allowed_builtins
from sealward.controlplane.domain.policies import Layer, ReleaseAnswer
from sealward.controlplane.domain.policies_bundle import PolicySample
from sealward.controlplane.domain.policy_composition import Answered, Silent, outcome
from sealward.controlplane.domain.policy_engine import LayerPolicy

PolicyOf = Callable[..., LayerPolicy]

# Same attack, or just another wrong answer, on the values themselves.
YES = "allow := true\nreasons := []\n"
WRONG = {
    "allow as text": 'allow := "true"' + REST,
    "allow as number": "allow := 1" + REST,
    "allow as set": "allow contains true" + REST,
    "an obligation nobody knows": YES + 'obligations := {"watermark": true}',
    "a ttl for ever": YES + 'obligations := {"ttl_seconds": 1e308}',
    "undefined text": 'allow := "<undefined>"' + REST,
}


@pytest.fixture(scope="module")
def strict() -> EngineSettings:
    """The real deadline; pauses off, because each case is a policy of its own."""
    return EngineSettings(deadline_seconds=0.2, load_seconds=1.0)


@pytest.fixture(scope="module")
def judge(strict: EngineSettings) -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(strict, time.monotonic)
    yield engine
    engine.close()


# Only to keep the suite short: what the check refuses late, it refuses by these deadlines.
QUICK = EngineSettings(deadline_seconds=0.1, load_seconds=0.4)


@pytest.fixture(scope="module")
def quick() -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(QUICK, time.monotonic)
    yield engine
    engine.close()


def test_there_are_thirty_policies_in_ten_classes_and_each_has_one():
    assert sorted(name for names in CLASSES.values() for name in names) == sorted(HOSTILE)
    assert len(HOSTILE) >= 30
    assert len(CLASSES) >= 10


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_policy_ends_alone_and_delays_no_other_layer(
    judge: EmbeddedEngine, policy_of: PolicyOf, name: str
):
    hostile = policy_of(body(name), layer=Layer.TEAM)
    other = policy_of("allow := true" + REST)
    judge.prepare(other)
    said: list[object] = []
    attack = threading.Thread(
        target=lambda: said.append(outcome(ReleaseAnswer, judge, hostile, b"{}"))
    )
    began = time.monotonic()
    attack.start()
    slowest = 0.0
    while attack.is_alive():
        asked = time.monotonic()
        assert isinstance(outcome(ReleaseAnswer, judge, other, b"{}"), Answered)
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.005)
    attack.join()
    judge.retire(hostile)
    assert slowest < 0.25
    assert time.monotonic() - began < 10
    # Some of these are merely slow or strange to write; what none may do is grant by accident.
    assert isinstance(said[0], Silent) or not said[0].answer.allow or name in HARMLESS


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_silence_with_a_reason(
    engine: EmbeddedEngine, policy_of: PolicyOf, name: str
):
    said = outcome(ReleaseAnswer, engine, policy_of(WRONG[name]), b"{}")
    assert isinstance(said, Silent)
    assert said.reason.code == "policy_error"


@pytest.mark.parametrize("name", HOSTILE)
def test_the_upload_check_refuses_it_or_it_is_harmless(
    quick: EmbeddedEngine, policy_of: PolicyOf, name: str
):
    policy = policy_of(body(name), layer=Layer.TEAM)
    sample = PolicySample("empty", b"{}", b"{}", b"{}")
    began = time.monotonic()
    problems = check(
        policy, builtins=allowed_builtins(), samples=[sample], engine=quick, settings=QUICK
    )
    quick.retire(policy)
    assert time.monotonic() - began < 15
    assert all(isinstance(one, Problem) and one.describe() for one in problems)
    assert problems or name in HARMLESS
