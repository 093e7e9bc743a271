"""Answers: complete and of the right types, or a refusal that names the member."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.domain.policies import (
    Admission,
    AppraisalAnswer,
    EnrollmentAnswer,
    Layer,
    Obligations,
    PolicyKind,
    ReleaseAnswer,
)
from sealward.controlplane.domain.policies_bundle import bundle_from_files
from sealward.controlplane.domain.policies_decoding import InvalidAnswer, decode
from sealward.controlplane.domain.policy_engine import LayerPolicy
from sealward.verifier.rats.result import Dimension, Tier
from sealward.verifier.wire import json

REASON = {"code": "x", "claim": None, "expected": 1, "actual": "a", "hint": "do"}
VECTOR = {str(one): "affirming" for one in Dimension}
GOOD: dict[PolicyKind, dict[str, Any]] = {
    PolicyKind.APPRAISAL: {"trust_vector": VECTOR, "reasons": [REASON]},
    PolicyKind.ENROLLMENT: {"answer": "pend", "labels": {"a/b": "C"}, "reasons": []},
    PolicyKind.RELEASE: {
        "allow": True,
        "reasons": [],
        "obligations": {"ttl_seconds": 5, "max_instances": 1, "regions": ["eu", "us"]},
    },
}


def policy(kind: PolicyKind, layer: Layer = Layer.TEAM) -> LayerPolicy:
    bundle = bundle_from_files({".manifest": b'{"roots":["any"]}'})
    return LayerPolicy(scope="t", layer=layer, kind=kind, bundle=bundle)


def test_complete_answers_become_values():
    appraisal = decode(policy(PolicyKind.APPRAISAL), json.canonical(GOOD[PolicyKind.APPRAISAL]))
    assert isinstance(appraisal, AppraisalAnswer)
    assert appraisal.trust_vector.tier(Dimension.HARDWARE) is Tier.AFFIRMING
    assert (appraisal.reasons[0].layer, appraisal.reasons[0].rule) == (
        Layer.TEAM,
        "sealward.team.appraisal",
    )
    enrollment = decode(policy(PolicyKind.ENROLLMENT), json.canonical(GOOD[PolicyKind.ENROLLMENT]))
    assert isinstance(enrollment, EnrollmentAnswer)
    assert enrollment.answer is Admission.PEND
    release = decode(policy(PolicyKind.RELEASE), json.canonical(GOOD[PolicyKind.RELEASE]))
    assert isinstance(release, ReleaseAnswer)
    assert release.obligations == Obligations(
        ttl_seconds=5, max_instances=1, regions=frozenset({"eu", "us"})
    )


def test_the_same_answer_of_two_layers_names_each_its_own():
    data = json.canonical(GOOD[PolicyKind.APPRAISAL])
    rules = {
        layer: decode(policy(PolicyKind.APPRAISAL, layer), data).reasons[0].rule
        for layer in (Layer.ORGANISATION, Layer.TEAM, Layer.WORKLOAD, Layer.ORGANISATION)
    }
    assert rules == {
        Layer.ORGANISATION: "sealward.appraisal",
        Layer.TEAM: "sealward.team.appraisal",
        Layer.WORKLOAD: "sealward.workload.appraisal",
    }


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("release", ("allow",), "true"),
        ("release", ("allow",), 1),
        ("release", ("allow",), None),
        ("release", ("reasons",), {}),
        ("release", ("reasons",), [REASON] * 65),
        ("release", ("reasons",), [REASON | {"code": "Bad Code"}]),
        ("release", ("reasons",), [REASON | {"layer": "organisation"}]),
        ("release", ("reasons",), [REASON | {"actual": ["list"]}]),
        ("release", ("reasons",), [REASON | {"hint": None}]),
        ("release", ("reasons",), [REASON | {"hint": "x" * 513}]),
        ("release", ("reasons",), ["text"]),
        ("release", ("obligations",), []),
        ("release", ("obligations",), {"watermark": True}),
        ("release", ("obligations", "ttl_seconds"), 0),
        ("release", ("obligations", "ttl_seconds"), -1),
        ("release", ("obligations", "ttl_seconds"), True),
        ("release", ("obligations", "ttl_seconds"), "60"),
        ("release", ("obligations", "ttl_seconds"), None),
        ("release", ("obligations", "regions"), []),
        ("release", ("obligations", "regions"), "eu"),
        ("release", ("obligations", "regions"), [1]),
        ("release", ("extra",), 1),
        ("enrollment", ("answer",), "ADMIT"),
        ("enrollment", ("answer",), True),
        ("enrollment", ("labels",), []),
        ("enrollment", ("labels",), {"a": 1}),
        ("enrollment", ("labels",), {"a": ""}),
        ("enrollment", ("labels",), {"A B": "x"}),
        ("enrollment", ("labels",), {f"l{at}": "x" for at in range(33)}),
        ("appraisal", ("trust_vector",), {}),
        ("appraisal", ("trust_vector",), VECTOR | {"extra": "affirming"}),
        ("appraisal", ("trust_vector", "hardware"), 2),
        ("appraisal", ("trust_vector", "hardware"), "Affirming"),
        ("appraisal", ("trust_vector", "hardware"), None),
    ],
)
def test_every_other_type_is_refused(kind: str, path: tuple[str, ...], value: object):
    answer = GOOD[PolicyKind(kind)] | {}
    place = answer
    for name in path[:-1]:
        place[name] = dict(place[name])
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(InvalidAnswer):
        decode(policy(PolicyKind(kind)), json.canonical(answer))


@pytest.mark.parametrize("kind", PolicyKind)
def test_no_member_may_be_missing(kind: PolicyKind):
    for name in GOOD[kind]:
        rest = {key: value for key, value in GOOD[kind].items() if key != name}
        with pytest.raises(InvalidAnswer, match="exactly"):
            decode(policy(kind), json.canonical(rest))


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@given(st.sampled_from(PolicyKind), _ANY)
def test_any_json_is_an_answer_or_an_invalid_answer(kind: PolicyKind, value: json.Canonical):
    with pytest.raises(InvalidAnswer):
        decode(policy(kind), json.canonical(value))


@given(st.sampled_from(PolicyKind), st.binary(max_size=100))
def test_any_bytes_are_an_answer_or_an_invalid_answer(kind: PolicyKind, data: bytes):
    with pytest.raises(InvalidAnswer):
        decode(policy(kind), data)
