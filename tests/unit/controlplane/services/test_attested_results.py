"""A node that asks for an attestation result gets one with its answer, as long as it would hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.control_plane import World
from fakes.instances import Instance, admitted

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.services.attestation_results import ResultRequest
from sealward.verifier.rats.attestation_result import AttestationResult, verify
from sealward.verifier.rats.binding import Purpose
from sealward.verifier.rats.result import Tier
from sealward.verifier.rats.result_keys import ResultKey, decode_set

BANK = "https://bank.example"
NONCE = bytes(range(32))


def asked(here: World, instance: Instance, request: ResultRequest) -> str:
    call = instance.attest_call(instance.presented(here, Purpose.ATTEST))
    answer = here.plane.attestation.attest(replace(call, result=request))
    instance.take(answer.terms, answer.content_keys, answer.ratchet)
    return answer.attestation_result


def read(here: World, instance: Instance, token: str) -> AttestationResult:
    return verify(
        token,
        keys=decode_set(here.plane.admin.node_results.key_set()),
        audience=BANK,
        presenter=ResultKey.from_spki(instance.keys.tls_spki),
        nonce=NONCE,
        now=here.clock.now(),
    )


def test_the_answer_carries_a_result_bound_to_the_node_s_key(here: World) -> None:
    instance = admitted(here)
    here.clock.advance(timedelta(milliseconds=1))  # what comes later has a later id
    result = read(here, instance, asked(here, instance, ResultRequest(BANK, NONCE)))
    node_id = instance.keys.node.hex()
    decision = here.plane.database.read(lambda tx: tx.decisions.latest(node_id, limit=1))[0]
    assert (result.node, result.result_id) == (node_id, decision.decision_id)
    (appraisal,) = result.appraisals
    assert appraisal.label == "snp"
    assert appraisal.vector.executables is Tier.AFFIRMING
    assert appraisal.vector.hardware is Tier.CONTRAINDICATED  # under a development root
    assert result.basis.development
    leases = here.plane.database.read(lambda tx: tx.leases.active_of_node(node_id))
    assert result.expires <= min(lease.not_after for lease in leases)


def test_a_node_that_does_not_ask_gets_none(here: World) -> None:
    assert admitted(here).attest(here).attestation_result == ""


def test_a_request_that_no_result_can_answer_spends_nothing(here: World) -> None:
    instance = admitted(here)
    call = instance.attest_call(instance.presented(here, Purpose.ATTEST))
    with pytest.raises(Refused) as caught:
        here.plane.attestation.attest(replace(call, result=ResultRequest("two words")))
    assert caught.value.code is Code.invalid_request
    here.plane.attestation.attest(call)
