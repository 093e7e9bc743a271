"""Shipped policies: every test passes, every sample gets its answer, every input has a schema."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fakes.policy_schemas import read, violations

from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine
from sealward.controlplane.adapters.policy_engine.process import WorkerSettings
from sealward.controlplane.adapters.policy_engine.rego_tests import RegoTest, run_tests
from sealward.controlplane.adapters.policy_engine.shipped import (
    allowed_builtins,
    shipped,
    shipped_policy,
)
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import (
    PolicySample,
    bundle_from_files,
    files_of,
)
from sealward.controlplane.domain.policies_decoding import decode
from sealward.verifier.wire import json

SAMPLES = [(kind, sample) for kind in PolicyKind for sample in shipped(kind).samples]


@pytest.fixture(scope="module", params=PolicyKind)
def rego_results(request: pytest.FixtureRequest) -> tuple[RegoTest, ...]:
    return run_tests(shipped_policy(request.param, "tenant/tests"), WorkerSettings())


def test_every_rego_test_passes(rego_results: tuple[RegoTest, ...]):
    assert [one for one in rego_results if one.failure is not None] == []
    assert len(rego_results) >= 10


@pytest.mark.parametrize(
    ("kind", "sample"), SAMPLES, ids=[f"{kind}/{sample.name}" for kind, sample in SAMPLES]
)
def test_every_sample_gets_its_answer(
    engine: EmbeddedEngine, kind: PolicyKind, sample: PolicySample
):
    policy = shipped_policy(kind, "tenant/samples")
    answer = engine.evaluate(policy, sample.document, sample.reference)
    assert answer == sample.expected
    decode(policy, answer)


@pytest.mark.parametrize("kind", PolicyKind)
def test_a_shipped_bundle_is_one_of_the_organisation_layer(kind: PolicyKind):
    bundle = bundle_from_files(files_of(shipped(kind)))
    bundle.refuse_outside(kind, Layer.ORGANISATION)
    assert bundle == shipped(kind)
    assert bundle.samples


def test_the_allow_list_holds_nothing_impure():
    impure = {"http.send", "net.lookup_ip_addr", "opa.runtime", "rand.intn", "time.now_ns"}
    clocked = {"io.jwt.decode_verify", "crypto.x509.parse_and_verify_certificates"}
    talking = {"trace", "print", "uuid.rfc4122"}
    assert not (impure | clocked | talking) & allowed_builtins()
    assert "count" in allowed_builtins()


def claims_schema() -> dict[str, Any]:
    return read("claims")


@pytest.mark.parametrize(
    ("kind", "sample"), SAMPLES, ids=[f"{kind}/{sample.name}" for kind, sample in SAMPLES]
)
def test_every_sample_is_an_input_that_the_schemas_describe(kind: PolicyKind, sample: PolicySample):
    document: Any = json.decode(sample.document, what="input", max_bytes=1 << 20)
    reference = json.decode(sample.reference, what="reference", max_bytes=1 << 20)
    expected = json.decode(sample.expected, what="answer", max_bytes=1 << 20)
    answers = read("answers")["properties"]
    assert violations(expected, answers[kind.value], "answers") == []
    if sample.name == "nothing":
        return
    if kind is PolicyKind.APPRAISAL:
        assert violations(reference, read("reference"), "reference") == []
    assert violations(document, read(kind.value), kind.value) == []


@pytest.mark.parametrize("kind", PolicyKind)
def test_no_shipped_policy_reads_a_claim_that_no_verifier_emits(kind: PolicyKind):
    properties = claims_schema()["properties"]
    for module in shipped(kind).modules:
        if not module.is_test:
            read_claims = set(re.findall(r"input\.claims\.(\w+)", module.text))
            assert read_claims <= set(properties)
