"""When a claim last passed is read from what was decided, and from nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sealward.controlplane.domain.decisions import DecisionKind
from sealward.controlplane.domain.explanations import Finding, Source
from sealward.controlplane.domain.last_passed import Past, last_passed

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FAULT = Finding(
    code="tcb_below_floor",
    source=Source.policy,
    rule="sealward.appraisal",
    layer="organisation",
    claim="claims.tcb.reported.snp",
    expected=">= 8",
    actual=7,
)
OTHER = replace(FAULT, code="debug_enabled", claim="claims.debug")
SILENT = replace(FAULT, code="policy_timeout", claim=None)


def hours_ago(hours: int, *findings: Finding, kind: DecisionKind = DecisionKind.attest) -> Past:
    return Past(NOON - timedelta(hours=hours), kind, findings)


def test_it_is_the_newest_decision_that_held_nothing_against_the_claim() -> None:
    past = [hours_ago(1, FAULT), hours_ago(2, FAULT, OTHER), hours_ago(3, OTHER), hours_ago(4)]
    found = last_passed(FAULT, past)
    assert found.at == NOON - timedelta(hours=3)
    assert (found.decisions, found.back_to) == (4, NOON - timedelta(hours=4))


def test_a_decision_that_a_policy_was_silent_in_says_nothing() -> None:
    assert last_passed(FAULT, [hours_ago(1, SILENT), hours_ago(2)]).at == NOON - timedelta(hours=2)


def test_a_revocation_looks_at_no_claim() -> None:
    past = [hours_ago(1, kind=DecisionKind.revoke)]
    assert last_passed(FAULT, past).at is None


def test_without_a_claim_the_code_is_looked_for() -> None:
    one = replace(FAULT, claim=None)
    past = [hours_ago(1, one), hours_ago(2, OTHER)]
    assert last_passed(one, past).at == NOON - timedelta(hours=2)


@pytest.mark.parametrize(
    ("kind", "passed"),
    [
        (DecisionKind.attest, True),
        (DecisionKind.enroll, True),
        (DecisionKind.reappraise, False),
        (DecisionKind.revoke, False),
    ],
)
def test_what_the_verifier_refuses_last_passed_when_evidence_was_appraised(
    kind: DecisionKind, *, passed: bool
) -> None:
    refused = replace(FAULT, code="signature_invalid", source=Source.refusal, claim=None)
    found = last_passed(refused, [hours_ago(1, FAULT, kind=kind)])
    assert (found.at is not None) == passed


def test_a_workload_last_passed_when_it_was_last_granted() -> None:
    one = replace(FAULT, workload="scoring")
    assert last_passed(one, [hours_ago(1)]).at is None
    assert last_passed(one, [hours_ago(1)], leased=NOON).at == NOON


def test_of_no_past_it_says_so() -> None:
    found = last_passed(FAULT, [])
    assert (found.at, found.decisions, found.back_to) == (None, 0, None)
