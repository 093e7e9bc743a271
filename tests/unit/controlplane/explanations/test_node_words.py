"""What a node is told depends on nothing that it may not know (F26)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.domain import node_words
from sealward.controlplane.domain.errors import Code
from sealward.controlplane.domain.policies import Admission
from sealward.enclave_agent.session import NOT_ADMITTED, RUNTIME_LOG_GAP, UNKNOWN
from sealward.verifier.rats import errors as verifier_errors

READ_BY_AGENTS = re.compile(r"[a-z][a-z0-9_]{0,63}")


@given(st.text())
def test_a_posture_has_one_word_whatever_a_policy_says(code: str) -> None:
    assert node_words.of_posture(code) == ("posture_noncompliant" if code else "")


@given(st.text())
def test_an_enrolment_has_two_words_whatever_a_policy_says(code: str) -> None:
    assert node_words.of_admission(Admission.PEND, code) == "node_pending"
    assert node_words.of_admission(Admission.REJECT, code) == "node_rejected"


@pytest.mark.parametrize("code", ["node_quarantined", "node_retired"])
def test_a_node_is_told_where_it_stands(code: str) -> None:
    assert node_words.of_admission(Admission.REJECT, code) == code


@pytest.mark.parametrize("code", Code)
def test_a_workload_that_depends_on_others_has_one_word(code: Code) -> None:
    own = {"posture_noncompliant", "tpm_lock_missing", "horizon_passed"}
    assert node_words.of_workload(code) == (code if code in own else "policy_denied")


@pytest.mark.parametrize("code", Code)
def test_every_word_is_one_that_agents_read(code: Code) -> None:
    assert READ_BY_AGENTS.fullmatch(node_words.of_refusal(code))


def test_what_agents_obey_reaches_them_as_it_is() -> None:
    obeyed = (NOT_ADMITTED | UNKNOWN | {RUNTIME_LOG_GAP}) & {code.value for code in Code}
    assert {node_words.of_refusal(Code(code)).value for code in obeyed} == obeyed
    assert len(obeyed) > 4


def test_no_word_is_the_verifiers_own() -> None:
    """Which of its checks failed is for the administrator."""
    words = {node_words.of_refusal(code).value for code in Code}
    named = words & {code.value for code in verifier_errors.Code}
    # Of its binding the node knows everything: it wrote it.
    assert named <= {"binding_mismatch", "audience_mismatch"}
