"""No verdict depends on the engine: embedded and real OPA answer to the byte alike."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import require_part
from fakes import opa_server
from fakes.policy_inputs import Case, cases

from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.adapters.policy_engine.opa.engine import OpaEngine
from sealward.controlplane.adapters.policy_engine.process import WorkerSettings
from sealward.controlplane.adapters.policy_engine.rego_tests import run_tests
from sealward.controlplane.adapters.policy_engine.shipped import shipped, shipped_policy
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.policies_bundle import files_of
from sealward.controlplane.domain.policy_engine import (
    LayerPolicy,
    PolicyEngine,
    PolicyEngineError,
)

pytestmark = pytest.mark.integration

COUNT = {PolicyKind.APPRAISAL: 2400, PolicyKind.RELEASE: 500, PolicyKind.ENROLLMENT: 500}
VERDICTS = {
    PolicyKind.APPRAISAL: (
        *('"configuration":"affirming"', '"configuration":"contraindicated"'),
        *('"executables":"affirming"', '"executables":"contraindicated"'),
        *('"file-system":"affirming"', '"file-system":"none"'),
        *('"hardware":"affirming"', '"hardware":"warning"', '"hardware":"contraindicated"'),
        *('"instance-identity":"affirming"', '"instance-identity":"contraindicated"'),
        *('"runtime-opaque":"affirming"', '"runtime-opaque":"warning"'),
    ),
    PolicyKind.RELEASE: ('"allow":true', '"allow":false'),
    PolicyKind.ENROLLMENT: ('"answer":"admit"', '"answer":"pend"', '"answer":"reject"'),
}
# Settings of the appraisal policy, as bundle data: under these it says what it else never says.
STRICT = {"required": True, "signatures_required": True, "excluded": ["/usr/", "/opt/*/bin/"]}
MISSPELLED = {"required": True, "exclude": []}
SETTINGS = {"strict": STRICT, "misspelled": MISSPELLED}
SETTINGS_COUNT = 300
SCOPE = "tenant/parity"
MOST_SHOWN = 5


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(EngineSettings(deadline_seconds=5, load_seconds=10), time.monotonic)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def opa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpaEngine]:
    """A real OPA behind mutual TLS under a private CA."""
    reason = opa_server.missing()
    if reason:
        require_part(reason)
    with (
        opa_server.running(tmp_path_factory.mktemp("opa")) as server,
        opa_server.engine(server.endpoint) as engine,
    ):
        yield engine


def said(engine: PolicyEngine, policy: LayerPolicy, case: Case) -> str:
    """What a case comes to: the canonical answer, or the fault."""
    try:
        return engine.evaluate(policy, case.document, case.reference).decode()
    except PolicyEngineError as error:
        return f"fault {error.fault}"


def alike(
    embedded: EmbeddedEngine, opa: OpaEngine, policy: LayerPolicy, count: int
) -> frozenset[str]:
    """Ask both engines; return all answers, after no two were different."""
    answers: set[str] = set()
    different = []
    for case in cases(policy.kind, count):
        ours, theirs = said(embedded, policy, case), said(opa, policy, case)
        answers.add(ours)
        if ours != theirs:
            different.append((case, ours, theirs))
    assert different[:MOST_SHOWN] == []
    assert sum("fault" in answer for answer in answers) < len(answers) / 10
    return frozenset(answers)


def with_settings(name: str) -> LayerPolicy:
    """The shipped appraisal policy with settings beside it."""
    plain = shipped_policy(PolicyKind.APPRAISAL, SCOPE)
    data = {"sealward": {"appraisal": {"settings": {"ima": SETTINGS[name]}}}}
    return replace(plain, bundle=replace(plain.bundle, data=json.dumps(data).encode()))


@pytest.mark.parametrize("kind", PolicyKind)
def test_every_sample_and_every_generated_input_has_one_answer(
    embedded: EmbeddedEngine, opa: OpaEngine, kind: PolicyKind
) -> None:
    answers = alike(embedded, opa, shipped_policy(kind, SCOPE), COUNT[kind])
    if kind is PolicyKind.APPRAISAL:
        for name in SETTINGS:
            answers |= alike(embedded, opa, with_settings(name), SETTINGS_COUNT)
    everything = "\n".join(answers)
    for verdict in VERDICTS[kind]:
        assert verdict in everything
    unsaid = {code for code in codes_of(kind) if f'"code":"{code}"' not in everything}
    assert unsaid == set(), "no input makes the policy give these reasons"


@pytest.mark.parametrize("kind", PolicyKind)
def test_every_sample_gets_the_answer_that_it_expects_from_opa(
    opa: OpaEngine, kind: PolicyKind
) -> None:
    policy = shipped_policy(kind, SCOPE)
    for sample in policy.bundle.samples:
        assert opa.evaluate(policy, sample.document, sample.reference) == sample.expected


@pytest.mark.parametrize("kind", PolicyKind)
def test_both_engines_find_and_pass_the_same_rego_tests(kind: PolicyKind, tmp_path: Path) -> None:
    program = opa_server.find()
    if program is None:
        require_part(str(opa_server.missing()))
    for path, content in files_of(shipped(kind)).items():
        file = tmp_path / "bundle" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    command = [str(program), "test", "--bundle", str(tmp_path / "bundle"), "--format", "json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    results = json.loads(done.stdout)  # noqa: TID251 - of the opa that this test started
    passed = {
        f"{result['package'].removeprefix('data.')}.{result['name']}"
        for result in results
        if not any(result.get(bad) for bad in ("fail", "error", "skip"))
    }
    assert done.returncode == 0, done.stdout + done.stderr
    ours = run_tests(shipped_policy(kind, SCOPE), WorkerSettings())
    assert passed == {test.name for test in ours if test.failure is None}
    assert len(passed) == len(results) == len(ours)


def test_the_generator_gives_what_it_gave_before() -> None:
    first, again = (list(cases(PolicyKind.RELEASE, 40)) for _ in range(2))
    assert first == again
    assert len({(case.document, case.reference) for case in first}) > 30
    other = list(cases(PolicyKind.RELEASE, 40, seed="another"))
    assert other != first


def codes_of(kind: PolicyKind) -> set[str]:
    """Every reason that the shipped policy of a kind can give."""
    texts = [module.text for module in shipped(kind).modules if not module.is_test]
    return {code for text in texts for code in re.findall(r'"code": "([a-z0-9_]+)"', text)}
