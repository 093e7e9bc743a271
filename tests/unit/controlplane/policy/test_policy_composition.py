"""Composition: whatever a lower layer says, the result is never looser than without it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.domain.policies import (
    REQUIRED,
    Admission,
    AppraisalAnswer,
    EnrollmentAnswer,
    Label,
    Layer,
    Obligations,
    Reason,
    ReleaseAnswer,
)
from sealward.controlplane.domain.policy_composition import (
    DEFAULT_TTL_SECONDS,
    MAX_TTL_SECONDS,
    Answered,
    Outcome,
    Silent,
    compose_appraisal,
    compose_enrollment,
    compose_release,
    worst,
)
from sealward.verifier.rats.result import Dimension, Posture, Tier, TrustVector, posture


def reason(code: str = "no", layer: Layer = Layer.TEAM) -> Reason:
    return Reason(
        code=code, claim=None, expected=None, actual=None, hint="h", layer=layer, rule="r"
    )


LAYERS = st.sampled_from(Layer)
REASONS = st.lists(st.builds(reason, code=st.sampled_from(["a", "b"])), max_size=2).map(tuple)
NUMBER = st.none() | st.integers(1, 10_000)
REGIONS = st.none() | st.frozensets(st.sampled_from(["eu", "us", "ap"]), min_size=1)
OBLIGATIONS = st.builds(Obligations, ttl_seconds=NUMBER, max_instances=NUMBER, regions=REGIONS)
RELEASES = st.builds(ReleaseAnswer, allow=st.booleans(), reasons=REASONS, obligations=OBLIGATIONS)
VECTORS = st.builds(TrustVector, **{one.attribute: st.sampled_from(Tier) for one in Dimension})
APPRAISALS = st.builds(AppraisalAnswer, trust_vector=VECTORS, reasons=REASONS)
LABELS = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"]), max_size=2).map(
    lambda found: tuple(Label(name=n, value=v) for n, v in sorted(found.items()))
)
ENROLLMENTS = st.builds(
    EnrollmentAnswer, answer=st.sampled_from(Admission), labels=LABELS, reasons=REASONS
)


def outcomes(answers: st.SearchStrategy) -> st.SearchStrategy:
    answered = st.builds(Answered, layer=LAYERS, answer=answers)
    silent = st.builds(Silent, layer=LAYERS, reason=st.just(reason("policy_timeout")))
    return st.lists(answered | answered | silent, max_size=3)


def allow(layer: Layer = Layer.ORGANISATION, **limits: object) -> Outcome[ReleaseAnswer]:
    limit = Obligations(**limits)  # type: ignore[arg-type]  # shorthand of this file
    return Answered(layer=layer, answer=ReleaseAnswer(allow=True, reasons=(), obligations=limit))


def guarded(found: list[Outcome]) -> bool:
    """Whether the organisation's layer is among them: without it everything is denied anyway."""
    return any(one.layer is Layer.ORGANISATION for one in found)


def tighter(new: int | None, old: int | None) -> bool:
    return old is None or (new is not None and new <= old)


@given(outcomes(RELEASES), st.builds(Answered, layer=LAYERS, answer=RELEASES))
def test_one_more_layer_never_loosens_a_release(
    before: list[Outcome[ReleaseAnswer]], more: Outcome[ReleaseAnswer]
):
    old, new = compose_release(before), compose_release([*before, more])
    if guarded(before):
        assert old.allow or not new.allow
        assert set(old.reasons) - set(new.reasons) == set()
        stated = [
            one.answer.obligations.ttl_seconds
            for one in before
            if isinstance(one, Answered) and one.answer.obligations.ttl_seconds is not None
        ]
        if stated:
            assert tighter(new.obligations.ttl_seconds, old.obligations.ttl_seconds)
        assert tighter(new.obligations.max_instances, old.obligations.max_instances)
        if old.obligations.regions is not None:
            assert new.obligations.regions is not None
            assert new.obligations.regions <= old.obligations.regions


@given(outcomes(RELEASES))
def test_a_release_needs_every_layer_and_is_always_bounded(found: list[Outcome[ReleaseAnswer]]):
    decision = compose_release(found)
    said_yes = [
        isinstance(one, Answered) and one.answer.allow and not one.answer.reasons for one in found
    ]
    assert not decision.allow or (guarded(found) and all(said_yes))
    assert decision.allow or decision.reasons
    assert decision.obligations.ttl_seconds is not None
    assert 1 <= decision.obligations.ttl_seconds <= MAX_TTL_SECONDS


@given(outcomes(RELEASES).flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_the_order_of_outcomes_does_not_matter(
    orders: tuple[list[Outcome[ReleaseAnswer]], list[Outcome[ReleaseAnswer]]],
):
    one, two = (compose_release(found) for found in orders)
    assert (one.allow, one.obligations) == (two.allow, two.obligations)
    assert sorted(r.code for r in one.reasons) == sorted(r.code for r in two.reasons)


@given(
    outcomes(APPRAISALS),
    st.builds(Answered, layer=LAYERS, answer=APPRAISALS),
    st.frozensets(st.sampled_from(Dimension), min_size=1),
)
def test_one_more_layer_never_improves_a_posture(
    before: list[Outcome[AppraisalAnswer]],
    more: Outcome[AppraisalAnswer],
    required: frozenset[Dimension],
):
    order = [Posture.COMPLIANT, Posture.WARNING, Posture.NONCOMPLIANT]
    old = posture(compose_appraisal(before).trust_vector, required) if guarded(before) else order[0]
    new = posture(compose_appraisal([*before, more]).trust_vector, required)
    assert order.index(new) >= order.index(old)


@given(outcomes(ENROLLMENTS), st.builds(Answered, layer=LAYERS, answer=ENROLLMENTS))
def test_one_more_layer_never_welcomes_more(
    before: list[Outcome[EnrollmentAnswer]], more: Outcome[EnrollmentAnswer]
):
    order = list(Admission)
    old, new = compose_enrollment(before), compose_enrollment([*before, more])
    if guarded(before):
        assert order.index(new.answer) >= order.index(old.answer)


def test_numbers_by_minimum_and_regions_by_intersection():
    decision = compose_release(
        [
            allow(ttl_seconds=300, max_instances=8, regions=frozenset({"eu", "us"})),
            allow(Layer.TEAM, ttl_seconds=60, regions=frozenset({"eu", "ap"})),
            allow(Layer.WORKLOAD, ttl_seconds=9999, max_instances=2),
        ]
    )  # fmt: skip
    assert decision.allow
    assert decision.obligations == Obligations(
        ttl_seconds=60, max_instances=2, regions=frozenset({"eu"})
    )


def test_a_lease_that_nobody_bounds_gets_the_default_and_no_lease_exceeds_the_ceiling():
    assert compose_release([allow()]).obligations.ttl_seconds == DEFAULT_TTL_SECONDS
    assert compose_release([allow(ttl_seconds=10**9)]).obligations.ttl_seconds == MAX_TTL_SECONDS


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], "no_policy"),
        ([allow(), Silent(layer=Layer.TEAM, reason=reason("policy_timeout"))], "policy_timeout"),
        ([allow(regions=frozenset({"eu"})), allow(regions=frozenset({"us"}))], "no_common_region"),
        (
            [
                Answered(
                    layer=Layer.TEAM,
                    answer=ReleaseAnswer(allow=False, reasons=(), obligations=Obligations()),
                )
            ],
            "denied_without_reason",
        ),
        (
            [
                Answered(
                    layer=Layer.TEAM,
                    answer=ReleaseAnswer(
                        allow=True, reasons=(reason(),), obligations=Obligations()
                    ),
                )
            ],
            "allowed_with_reasons",
        ),
    ],
)
def test_a_denial_says_why(found: list[Outcome[ReleaseAnswer]], code: str):
    decision = compose_release(found)
    assert not decision.allow
    assert code in [one.code for one in decision.reasons]


@pytest.mark.parametrize("layers", [[Layer.TEAM], [Layer.WORKLOAD], [Layer.TEAM, Layer.WORKLOAD]])
def test_narrower_layers_decide_nothing_without_the_organisation(layers: list[Layer]):
    release = compose_release([allow(layer) for layer in layers])
    assert not release.allow
    assert [one.code for one in release.reasons] == ["no_policy"]
    affirming = TrustVector(**{one.attribute: Tier.AFFIRMING for one in Dimension})
    vouched = AppraisalAnswer(trust_vector=affirming, reasons=())
    appraisal = compose_appraisal([Answered(layer=layer, answer=vouched) for layer in layers])
    assert posture(appraisal.trust_vector, REQUIRED) is Posture.NONCOMPLIANT
    assert [one.code for one in appraisal.reasons] == ["no_policy"]
    welcome = EnrollmentAnswer(answer=Admission.ADMIT, labels=(), reasons=())
    enrollment = compose_enrollment([Answered(layer=layer, answer=welcome) for layer in layers])
    assert enrollment.answer is Admission.REJECT
    assert [one.code for one in enrollment.reasons] == ["no_policy"]


def test_a_silent_layer_trusts_nothing_and_admits_nobody():
    silent = Silent(layer=Layer.TEAM, reason=reason("policy_crashed"))
    affirming = TrustVector(**{one.attribute: Tier.AFFIRMING for one in Dimension})
    fine = Answered(
        layer=Layer.ORGANISATION, answer=AppraisalAnswer(trust_vector=affirming, reasons=())
    )
    assert posture(compose_appraisal([fine]).trust_vector, REQUIRED) is Posture.COMPLIANT
    assert posture(compose_appraisal([fine, silent]).trust_vector, REQUIRED) is Posture.NONCOMPLIANT
    assert posture(compose_appraisal([]).trust_vector, REQUIRED) is Posture.NONCOMPLIANT
    welcome = Answered(
        layer=Layer.ORGANISATION,
        answer=EnrollmentAnswer(answer=Admission.ADMIT, labels=(), reasons=()),
    )
    assert compose_enrollment([welcome]).answer is Admission.ADMIT
    assert compose_enrollment([welcome, silent]).answer is Admission.REJECT
    assert compose_enrollment([]).answer is Admission.REJECT


def test_a_lower_layer_cannot_rename_what_a_higher_one_labelled():
    def labelled(layer: Layer, value: str) -> Outcome[EnrollmentAnswer]:
        answer = EnrollmentAnswer(
            answer=Admission.ADMIT, labels=(Label(name="owner", value=value),), reasons=()
        )
        return Answered(layer=layer, answer=answer)

    decision = compose_enrollment([labelled(Layer.TEAM, "me"), labelled(Layer.ORGANISATION, "us")])
    assert decision.answer is Admission.REJECT
    assert [(r.code, r.expected, r.actual) for r in decision.reasons] == [
        ("label_conflict", "us", "me")
    ]


def test_worst_hides_no_tier_behind_another():
    assert worst() is Tier.NONE
    for one, two in itertools.product(Tier, repeat=2):
        assert worst(one, two) is worst(two, one)
        assert worst(one, one) is one
    assert worst(Tier.NONE, Tier.WARNING) is Tier.CONTRAINDICATED
    assert worst(Tier.NONE, Tier.AFFIRMING) is Tier.NONE
