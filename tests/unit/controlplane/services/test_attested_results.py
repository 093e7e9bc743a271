"""A node that asks for an attestation result gets one with its answer, as long as it would hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.control_plane import World, chip
from fakes.instances import Instance, admitted

from sealward.controlplane.domain.errors import Code, Conflict, Refused
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


def test_nobody_is_told_what_a_fence_has_left_behind(here: World) -> None:
    """F16: between a withdrawal and its sweep the decision on record does not hold any more."""
    here.settle()
    instance = admitted(here)
    instance.attest(here)
    issue = here.plane.admin.node_results.issue
    assert issue(here.admin, instance.node_id, ResultRequest(BANK)).text
    here.withdraw()
    with pytest.raises(Conflict) as caught:
        issue(here.admin, instance.node_id, ResultRequest(BANK))
    assert caught.value.code is Code.state_changed
    here.clock.advance(timedelta(milliseconds=1))  # what comes later has a later id
    here.settle()
    told = issue(here.admin, instance.node_id, ResultRequest(BANK, NONCE))
    (appraisal,) = read(here, instance, told.text).appraisals
    assert appraisal.vector.executables is Tier.CONTRAINDICATED


def test_a_change_that_is_about_others_delays_no_result(here: World) -> None:
    here.settle()
    instance = admitted(here)
    other = admitted(here, platform=chip("second"))
    instance.attest(here)
    here.plane.admin.nodes.quarantine(here.admin, other.node_id, reason="a test")
    issue = here.plane.admin.node_results.issue
    assert issue(here.admin, instance.node_id, ResultRequest(BANK)).text


def test_a_node_that_does_not_ask_gets_none(here: World) -> None:
    assert admitted(here).attest(here).attestation_result == ""


def test_a_request_that_no_result_can_answer_spends_nothing(here: World) -> None:
    instance = admitted(here)
    call = instance.attest_call(instance.presented(here, Purpose.ATTEST))
    with pytest.raises(Refused) as caught:
        here.plane.attestation.attest(replace(call, result=ResultRequest("two words")))
    assert caught.value.code is Code.invalid_request
    here.plane.attestation.attest(call)
