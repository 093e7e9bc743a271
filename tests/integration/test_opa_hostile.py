"""Hostile policies on an OPA server: no caller is held, and the server goes on answering.

What an evaluation costs the server is outside us (docs/adr/0008). The real server shows here that
it gives up when its caller does, but for what it cannot stop: there an operator limits its memory
and starts it again. The upload check, which most of these would not pass, is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import require_part
from fakes import opa_server
from fakes.hostile_policies import HARMLESS, HOSTILE, REST, body
from fakes.opa_server import Opa

from sealward.controlplane.adapters.policy_engine.opa.engine import OpaEngine, OpaSettings
from sealward.controlplane.domain.policies import Layer, PolicyKind, ReleaseAnswer, package_root
from sealward.controlplane.domain.policies_bundle import bundle_from_files
from sealward.controlplane.domain.policy_composition import Answered, Silent, outcome
from sealward.controlplane.domain.policy_engine import LayerPolicy

pytestmark = pytest.mark.integration

SETTINGS = OpaSettings(deadline_seconds=0.2, load_seconds=1.0, failures_before_pause=2)
# What OPA does not stop when its caller leaves: one built-in that never ends (`json.marshal` of a
# value of 2**40 parts, a product of numbers with millions of digits), and its compiler.
UNSTOPPABLE = ("objects that grow", "squaring", "rule chain", "alternatives of a rule")
MEMORY = 3 << 30
SLACK_SECONDS = 0.5  # a shared machine; the deadline itself is measured by the client's own tests
RECOVERY_SECONDS = 10.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Opa]:
    """One for each test: what fails is then the doing of the policy that the failure names."""
    reason = opa_server.missing()
    if reason:
        require_part(reason)
    with opa_server.running(tmp_path) as running:
        yield running


@pytest.fixture
def strict(server: Opa) -> Iterator[OpaEngine]:
    """The real deadline."""
    with opa_server.engine(server.endpoint, SETTINGS) as engine:
        yield engine


@pytest.fixture
def others(server: Opa) -> Iterator[OpaEngine]:
    """Other layers' policies on the same server; they may wait, as the machine is shared."""
    patient = OpaSettings(deadline_seconds=RECOVERY_SECONDS, load_seconds=RECOVERY_SECONDS)
    with opa_server.engine(server.endpoint, patient) as engine:
        yield engine


def policy_of(text: str, layer: Layer) -> LayerPolicy:
    root = package_root(PolicyKind.RELEASE, layer)
    files = {
        ".manifest": f'{{"roots":["{root.replace(".", "/")}"]}}',
        "policy.rego": f"package {root}\n\nimport rego.v1\n{text}",
    }
    bundle = bundle_from_files({path: content.encode() for path, content in files.items()})
    return LayerPolicy(scope="tenant/x", layer=layer, kind=PolicyKind.RELEASE, bundle=bundle)


# A deadline may end a connection inside its TLS handshake; its socket is closed when collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", sorted(set(HOSTILE) - set(UNSTOPPABLE)))
def test_a_hostile_policy_holds_its_caller_no_longer_than_it_may(
    server: Opa, strict: OpaEngine, others: OpaEngine, name: str
) -> None:
    hostile = policy_of(body(name), Layer.TEAM)
    other = policy_of("allow := true" + REST, Layer.ORGANISATION)
    assert isinstance(outcome(ReleaseAnswer, others, other, b"{}"), Answered)
    longest = SETTINGS.load_seconds + SETTINGS.deadline_seconds  # the first time it is mounted
    stalled = []
    for _ in range(SETTINGS.failures_before_pause):
        began = time.monotonic()
        said = outcome(ReleaseAnswer, strict, hostile, b"{}")
        assert time.monotonic() - began < longest + SLACK_SECONDS
        if isinstance(said, Answered):
            assert not said.answer.allow or name in HARMLESS or name in FINE_FOR_OPA
        stalled.append(isinstance(said, Silent) and said.stalled)
    if all(stalled):
        began = time.monotonic()
        paused = outcome(ReleaseAnswer, strict, hostile, b"{}")
        assert time.monotonic() - began < SLACK_SECONDS
        assert isinstance(paused, Silent)
        assert paused.reason.code == "policy_busy"
    strict.retire(hostile)
    # One that is there already is answered, and a new one is put there: no evaluation can be going
    # on beside that, as OPA waits for all of them first (docs/adr/0008).
    newcomer = policy_of("allow := true" + REST, Layer.WORKLOAD)
    for policy in (other, newcomer):
        assert isinstance(outcome(ReleaseAnswer, others, policy, b"{}"), Answered)
    assert server.process.poll() is None


# OPA evaluates these in a moment, to an answer that is true.
FINE_FOR_OPA = frozenset({"exponential calls", "memory by format"})


def recovers(engine: OpaEngine, policy: LayerPolicy) -> bool:
    """Whether a policy is answered sooner or later."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline:
        if isinstance(outcome(ReleaseAnswer, engine, policy, b"{}"), Answered):
            return True
    return False


def test_mounting_a_policy_does_not_run_it(strict: OpaEngine) -> None:
    """Else it would run for the longer deadline of mounting, each time that anything is put."""
    for layer, name in ((Layer.TEAM, "unbounded loop"), (Layer.WORKLOAD, "sum of products")):
        strict.prepare(policy_of(body(name), layer))


@pytest.mark.parametrize("name", UNSTOPPABLE)
def test_a_server_that_a_policy_takes_down_is_used_again_once_it_is_back(
    server: Opa,  # noqa: ARG001 - skips where there is no opa
    tmp_path: Path,
    name: str,
) -> None:
    """With what the guide asks of an operator: a limit on memory, and a start after an end."""
    hostile = policy_of(body(name), Layer.TEAM)
    other = policy_of("allow := true" + REST, Layer.ORGANISATION)
    longest = SETTINGS.load_seconds + SETTINGS.deadline_seconds
    with (
        opa_server.running(tmp_path, plain=True, memory=MEMORY) as limited,
        opa_server.engine(limited.endpoint, SETTINGS) as engine,
    ):
        for _ in range(4):
            began = time.monotonic()
            assert isinstance(outcome(ReleaseAnswer, engine, hostile, b"{}"), Silent)
            assert time.monotonic() - began < longest + SLACK_SECONDS
        limited.process.kill()  # whether or not the limit has ended it by now
        limited.process.wait()
        with opa_server.running(tmp_path, plain=True, port=limited.port, memory=MEMORY):
            assert recovers(engine, other)


def test_a_policy_that_hangs_on_one_input_only_pauses_for_it_and_comes_back(
    server: Opa,
) -> None:
    """What no upload check can find: on every sample it is quick."""
    text = (
        "default allow := false\nallow if not input.evil\nallow if {\n\tinput.evil\n"
        "\tsome a in numbers.range(1, 30000)\n\tsome b in numbers.range(1, 30000)\n\ta + b < 0\n}"
    )
    policy = policy_of(text + REST, Layer.WORKLOAD)
    settings = OpaSettings(deadline_seconds=1, load_seconds=20)
    with opa_server.engine(server.endpoint, settings) as engine:
        assert recovers(engine, policy)
        said = [outcome(ReleaseAnswer, engine, policy, b'{"evil":true}') for _ in range(4)]
        codes = [one.reason.code if isinstance(one, Silent) else "answered" for one in said]
        assert codes == ["policy_timeout"] * 3 + ["policy_busy"]
        engine.retire(policy)  # a fresh place has no memory of it
        assert recovers(engine, policy)
