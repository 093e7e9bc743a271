"""Shipped policies: every test passes, every sample gets its answer, every input has a schema."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sealward import policies
from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine
from sealward.controlplane.adapters.policy_engine.process import WorkerSettings
from sealward.controlplane.adapters.policy_engine.rego_tests import RegoTest, run_tests
from sealward.controlplane.adapters.policy_engine.shipped import (
    allowed_builtins,
    shipped,
    shipped_policy,
)
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_archive import archive_of, bundle_from_archive
from sealward.controlplane.domain.policies_bundle import PolicySample
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
def test_a_shipped_bundle_is_a_valid_archive_of_the_organisation_layer(kind: PolicyKind):
    bundle = bundle_from_archive(archive_of(shipped(kind)))
    bundle.refuse_outside(kind, Layer.ORGANISATION)
    assert bundle == shipped(kind)
    assert bundle.samples


def test_the_allow_list_holds_nothing_impure():
    impure = {"http.send", "net.lookup_ip_addr", "opa.runtime", "rand.intn", "time.now_ns"}
    clocked = {"io.jwt.decode_verify", "crypto.x509.parse_and_verify_certificates"}
    talking = {"trace", "print", "uuid.rfc4122"}
    assert not (impure | clocked | talking) & allowed_builtins()
    assert "count" in allowed_builtins()


def read(name: str) -> dict[str, Any]:
    value = json.decode(policies.schema(name), what=name, max_bytes=1 << 20)
    assert isinstance(value, dict)
    return value


KEYWORDS = frozenset(
    [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "enum",
        "items",
        "$ref",
        "anyOf",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "uniqueItems",
        "pattern",
        "minLength",
        "maxLength",
        "const",
        "minProperties",
        "maxProperties",
        "format",
        "description",
        "title",
        "propertyNames",
        "$schema",
        "$id",
        "$defs",
    ]
)
TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}


def violations(value: object, schema: dict[str, Any], root: str, at: str = "$") -> list[str]:
    """Judge by the part of JSON Schema that says most; an unknown keyword fails the test."""
    assert set(schema) <= KEYWORDS, set(schema) - KEYWORDS
    if "$ref" in schema:
        file, _, path = schema["$ref"].partition("#")
        other = file.removesuffix(".json") or root
        target = read(other)
        for part in filter(None, path.split("/")):
            target = target[part]
        return violations(value, target, other, at)
    kind = "null" if value is None else TYPES[type(value)]
    types = schema.get("type", kind)
    if kind not in ([types] if isinstance(types, str) else types):
        return [f"{at}: {kind} is not {types}"]
    found = [
        f"{at}: {value!r} breaks {keyword}"
        for keyword, holds in (
            ("enum", "enum" not in schema or value in schema["enum"]),
            ("const", "const" not in schema or value == schema["const"]),
            ("pattern", kind != "string" or re.search(schema.get("pattern", ""), str(value))),
            ("anyOf", "anyOf" not in schema or _any_of(value, schema["anyOf"], root, at)),
        )
        if not holds
    ]
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += violations(item, schema.get("items", {}), root, f"{at}[{index}]")
    if isinstance(value, dict):
        found += _members(value, schema, root, at)
    return found


def _any_of(value: object, schemas: list[dict[str, Any]], root: str, at: str) -> bool:
    return any(not violations(value, one, root, at) for one in schemas)


def _members(value: dict[str, Any], schema: dict[str, Any], root: str, at: str) -> list[str]:
    found = [f"{at}: no {name}" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
        if inner is False:
            found.append(f"{at}: unknown {name}")
        elif inner is not True:
            found += violations(item, inner, root, f"{at}.{name}")
    return found


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
