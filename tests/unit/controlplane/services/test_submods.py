"""Devices beside a machine: the worst decides, and what nobody vouches for does not pass."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from sealward.controlplane.adapters.policy_engine.shipped import shipped_policy
from sealward.controlplane.domain.policies import AppraisalAnswer, Layer, PolicyKind
from sealward.controlplane.domain.policies_decoding import InvalidAnswer, decode
from sealward.controlplane.domain.policy_composition import Answered, compose_appraisal
from sealward.controlplane.domain.policy_engine import LayerPolicy
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.submods import (
    devices,
    own_verdicts,
    read_verdicts,
    worst,
)
from sealward.verifier.rats.result import Posture, Tier, TrustVector, Verdict, VerdictCode
from sealward.verifier.wire import json

GOOD = TrustVector(
    instance_identity=Tier.AFFIRMING,
    configuration=Tier.AFFIRMING,
    executables=Tier.AFFIRMING,
    hardware=Tier.AFFIRMING,
    runtime_opaque=Tier.AFFIRMING,
)
BINDING = {
    "code": "device_binding_unproven",
    "claim": "gpu.binding",
    "expected": "tdisp",
    "actual": "agent-asserted",
    "tier": 32,
}


def document(*verdicts: dict[str, Any]) -> ClaimsDocument:
    values = {"submods": {"gpu-0": {"verdicts": list(verdicts)}, "gpu-1": {"verdicts": []}}}
    return ClaimsDocument(values, json.canonical(values))


def layered(layer: Layer, vector: TrustVector, **submods: TrustVector) -> Answered[AppraisalAnswer]:
    told = tuple((label.replace("_", "-"), one) for label, one in sorted(submods.items()))
    answer = AppraisalAnswer(trust_vector=vector, reasons=(), submods=told)
    return Answered(layer=layer, answer=answer)


def test_a_device_that_no_policy_speaks_of_does_not_pass() -> None:
    first, second = devices(document(), (("gpu-0", GOOD),))
    assert (first.posture(()), second.posture(())) == (Posture.COMPLIANT, Posture.NONCOMPLIANT)


def test_a_vector_of_what_is_not_there_says_nothing() -> None:
    assert [one.label for one in devices(document(), (("gpu-7", GOOD),))] == ["gpu-0", "gpu-1"]
    assert devices(ClaimsDocument.empty(), (("gpu-0", GOOD),)) == ()


def test_the_verifier_s_verdict_caps_its_device_and_no_other() -> None:
    vectors = (("gpu-0", GOOD), ("gpu-1", GOOD))
    first, second = devices(document(BINDING), vectors)
    assert first.verdicts[0].claim == "submods.gpu-0.gpu.binding"
    assert first.posture(first.verdicts) is Posture.WARNING
    assert first.posture(()) is Posture.COMPLIANT  # where that verdict does not decide
    assert second.posture(first.verdicts) is Posture.COMPLIANT


def test_what_is_held_against_a_device_is_not_held_against_the_machine() -> None:
    lifted = devices(document(BINDING), ())[0].verdicts
    own = (
        Verdict(code=VerdictCode.TPM_ONLY, claim="tee", expected="", actual="", tier=Tier.WARNING),
    )
    assert own_verdicts((*own, *lifted)) == own


def test_the_worst_posture_of_a_node_is_that_of_its_worst_part() -> None:
    order = [Posture.COMPLIANT, Posture.WARNING, Posture.NONCOMPLIANT]
    for one, other in product(order, order):
        assert worst([one, other]) is max(one, other, key=order.index)


def test_a_record_of_another_build_vouches_for_nothing() -> None:
    for strange in ({}, {"verdicts": [{}]}, {"verdicts": [{**BINDING, "code": "new"}]}, "text"):
        with pytest.raises((KeyError, TypeError, ValueError)):
            read_verdicts(strange)


# --- what policies answer ------------------------------------------------------------------------


def test_layers_compose_device_by_device_and_none_loosens_another() -> None:
    warned = replace(GOOD, hardware=Tier.WARNING)
    answer = compose_appraisal(
        (
            layered(Layer.ORGANISATION, GOOD, gpu_0=GOOD, gpu_1=GOOD),
            layered(Layer.TEAM, GOOD, gpu_1=warned),
        )
    )
    assert answer.submods == (("gpu-0", GOOD), ("gpu-1", warned))
    assert answer.trust_vector == GOOD


def told(vectors: object) -> AppraisalAnswer:
    policy: LayerPolicy = shipped_policy(PolicyKind.APPRAISAL, "tenant/tests")
    named = {name: Tier(number).name.lower() for name, number in GOOD.to_json().items()}
    body: Any = {"trust_vector": {**named, "submods": vectors}, "reasons": []}
    answer = decode(policy, json.canonical(body))
    assert isinstance(answer, AppraisalAnswer)
    return answer


def test_vectors_of_devices_are_read_beside_that_of_the_machine() -> None:
    named = {name: Tier(number).name.lower() for name, number in GOOD.to_json().items()}
    assert told({"gpu-1": named, "gpu-0": named}).submods == (("gpu-0", GOOD), ("gpu-1", GOOD))
    assert told({}).submods == ()


@pytest.mark.parametrize(
    "vectors",
    [
        None,
        [],
        "text",
        {"gpu-0": {}},
        {"gpu-0": None},
        {"GPU 0": dict.fromkeys(GOOD.to_json(), "affirming")},
        {"gpu-0": dict.fromkeys(GOOD.to_json(), "fine")},
        {f"gpu-{n}": dict.fromkeys(GOOD.to_json(), "none") for n in range(33)},
    ],
)
def test_a_vector_that_is_none_is_no_answer(vectors: object) -> None:
    with pytest.raises(InvalidAnswer):
        told(vectors)
