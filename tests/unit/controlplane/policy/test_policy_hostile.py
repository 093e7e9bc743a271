"""Hostile policies: each costs its own worker; the control plane and other layers do not notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sealward.controlplane.adapters.policy_engine.check import Problem, check
from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.adapters.policy_engine.shipped import allowed_builtins
from sealward.controlplane.domain.policies import Layer, ReleaseAnswer
from sealward.controlplane.domain.policies_bundle import PolicySample
from sealward.controlplane.domain.policy_composition import Answered, Silent, outcome
from sealward.controlplane.domain.policy_engine import LayerPolicy

PolicyOf = Callable[..., LayerPolicy]

REST = "\nreasons := set()\nobligations := {}\n"
DOUBLING = "\n".join(f's{at + 1} := concat("", [s{at}, s{at}])' for at in range(40))
CHAIN = "\n".join(f"r{at} := r{at + 1}" for at in range(4000))
FANOUT = "\n".join(f"f{at}(x) := f{at + 1}(x) + f{at + 1}(x)" for at in range(60))

XS = "xs := numbers.range(1, 3000)\n"
TREE = "xs := {x: {y: 1 | some y in numbers.range(1, 300)} | some x in numbers.range(1, 300)}\n"
LONG_A = 'a := concat("", ["a" | some x in numbers.range(1, 60000)])\n'

# class of attack -> what follows the package clause
HOSTILE = {
    "unbounded range": "allow := count(numbers.range(1, 1000000000)) > 0",
    "unbounded loop": XS + "allow if { some a in xs; some b in xs; some c in xs; a + b + c < 0 }",
    "comprehension of products": XS
    + "allow := count({[a, b, c] | some a in xs; some b in xs; some c in xs}) > 0",
    "recursion": "f(x) := f(x)\nallow := f(1)",
    "growing recursion": "f(x) := f([x])\nallow := f(1)",
    "mutual recursion": "f(x) := g(x)\ng(x) := h(x)\nh(x) := f(x)\nallow := f(1)",
    "recursion by replacement": "f(x) := 1\ng(x) := h(x)\nh(x) := f(x)\n"
    "allow := r\nr := y if { y := h(1) with f as g }",
    "exponential calls": FANOUT + "\nf60(x) := x\nallow := f0(1) > 0",
    "rule chain": CHAIN + "\nr4000 := true\nallow := r0",
    "memory by doubling": 's0 := "0123456789abcdef"\n' + DOUBLING + "\nallow := count(s40) > 0",
    "memory by arrays": XS + "allow := count([[x, y] | some x in xs; some y in xs]) > 0",
    "memory by shifting": "allow := bits.lsh(1, 10000000000) > 0",
    "memory by format": 'allow := count(sprintf("%1000000000d", [1])) > 0',
    "memory by replacement": LONG_A + 'allow := count(replace(replace(a, "a", a), "a", a)) > 0',
    "nested brackets": "allow := " + "[" * 40 + "1" + "]" * 40,
    "nested braces": "allow := " + "{" * 40 + "1" + "}" * 40,
    "nested operators": "allow := 0 < " + " + ".join(["1"] * 20000),
    "nested references": "allow := input" + ".a" * 20000,
    "many brackets in a row": "allow := " + " == ".join(["[[[[[[[[[[1]]]]]]]]]]"] * 2000),
    "long string": 'allow := count("' + "a" * 200000 + '") > 0',
    "deep document": f"allow := json.unmarshal(`{'[' * 100000}{']' * 100000}`) == 1",
    "catastrophic expression": LONG_A + 'allow := regex.match("^(a+)+$", a) == false',
    "huge expression": 'allow := regex.match("(((a{1000}){1000}){1000}){1000}", "a")',
    "huge answer": "allow := true\nreasons := numbers.range(1, 200000)\nobligations := {}",
    "walk of everything": TREE
    + "allow := count([1 | walk(xs, [p, _]); walk(xs, [q, _]); p == q]) < 0",
}
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


def body(name: str) -> str:
    text = HOSTILE[name]
    return text if "reasons :=" in text else text + REST


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


# Strange, but within all limits: a true answer is right for these.
HARMLESS = frozenset({"long string", "catastrophic expression", "many brackets in a row"})


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
