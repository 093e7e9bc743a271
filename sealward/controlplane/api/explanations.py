"""Explanations over HTTP (docs/specs/explanations.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Query

from sealward.controlplane.api.nodes import DecisionView, EvidenceView, NodeView
from sealward.controlplane.api.route import (
    Caller,
    GuardedRoute,
    PageView,
    Paging,
    Services,
    View,
)
from sealward.controlplane.domain.attempts import Attempt
from sealward.controlplane.domain.explanations import Finding, Source
from sealward.controlplane.domain.finding_codes import Nature
from sealward.controlplane.domain.nearest import Candidate, Standing
from sealward.controlplane.services.explanations import Cause, Explained, finding_of_attempt

router = APIRouter(route_class=GuardedRoute, tags=["explanations"])

_HIDDEN: Final = "another set you cannot read"


class FindingView(View):
    """One thing held against a node."""

    code: str
    source: Source
    nature: Nature
    rule: str
    layer: str
    claim: str | None
    expected: Any
    actual: Any
    hint: str
    workload: str | None

    @classmethod
    def of(cls, one: Finding) -> Self:
        """Show one."""
        return cls(
            code=one.code,
            source=one.source,
            nature=one.nature,
            rule=one.rule,
            layer=one.layer,
            claim=one.claim,
            expected=one.expected,
            actual=one.actual,
            hint=one.hint,
            workload=one.workload,
        )


class CandidateView(View):
    """A reference value; `same` where it is the very value that was found."""

    set: str
    name: str
    place: str
    value: str
    standing: Standing
    same: bool
    note: str

    @classmethod
    def of(cls, one: Candidate) -> Self:
        """Show one."""
        return cls(
            set=one.set_name,
            name=one.name,
            place=one.place,
            value=one.value,
            standing=one.standing,
            same=one.same,
            note=one.note,
        )


class LastPassedView(View):
    """When the claim last passed; `at` null: in none of `decisions`, which go back to `back_to`."""

    at: datetime | None
    decisions: int
    back_to: datetime | None


class CauseView(View):
    """The top cause; `nearest` is text where only a set has it that the reader may not read."""

    finding: FindingView
    accepted: list[CandidateView]
    accepted_more: int
    nearest: CandidateView | str | None
    events: list[str]
    last_passed: LastPassedView
    mend: str

    @classmethod
    def of(cls, cause: Cause) -> Self:
        """Show one."""
        near, passed = cause.near, cause.passed
        hidden = _HIDDEN if near.hidden else None
        return cls(
            finding=FindingView.of(cause.finding),
            accepted=[CandidateView.of(one) for one in near.accepted],
            accepted_more=near.more,
            nearest=hidden if near.nearest is None else CandidateView.of(near.nearest),
            events=list(cause.events),
            last_passed=LastPassedView(
                at=passed.at, decisions=passed.decisions, back_to=passed.back_to
            ),
            mend=cause.mend,
        )


class ExplainedView(View):
    """One denial, or the record of what denied nothing (`cause` null)."""

    correlation_id: str
    node_id: str
    step: str
    outcome: str
    code: str
    at: datetime
    cause: CauseView | None
    others: list[FindingView]
    passed_since: datetime | None

    @classmethod
    def of(cls, one: Explained) -> Self:
        """Show one."""
        return cls(
            correlation_id=one.correlation_id,
            node_id=one.node_id,
            step=one.step,
            outcome=one.outcome,
            code=one.code,
            at=one.at,
            cause=None if one.cause is None else CauseView.of(one.cause),
            others=[FindingView.of(other) for other in one.others],
            passed_since=one.passed_since,
        )


class AttemptView(View):
    """An attempt that was refused before a decision."""

    correlation_id: str
    call: str
    code: str
    reason: FindingView
    at: datetime

    @classmethod
    def of(cls, one: Attempt) -> Self:
        """Show one."""
        return cls(
            correlation_id=one.correlation_id,
            call=one.call.value,
            code=one.code,
            reason=FindingView.of(finding_of_attempt(one)),
            at=one.at,
        )


class NodeExplanationView(View):
    """Why a node stands where it stands; `why` is its newest denial, lists are newest first."""

    node: NodeView | None
    evidence: EvidenceView | None
    why: ExplainedView | None
    decisions: list[DecisionView]
    attempts: list[AttemptView]


class DecisionQuery(Paging):
    """Which decisions."""

    node_id: str | None = None


@router.get("/nodes/{node_id}/explain")
def of_node(node_id: str, caller: Caller, services: Services) -> NodeExplanationView:
    """Return why a node stands where it stands."""
    found = services.explanations.of_node(caller, node_id)
    return NodeExplanationView(
        node=None if found.node is None else NodeView.of(found.node),
        evidence=None if found.evidence is None else EvidenceView.of(found.evidence),
        why=None if found.why is None else ExplainedView.of(found.why),
        decisions=[DecisionView.of(item) for item in found.decisions],
        attempts=[AttemptView.of(item) for item in found.attempts],
    )


@router.get("/explanations/{correlation_id}")
def of_correlation(correlation_id: str, caller: Caller, services: Services) -> ExplainedView:
    """Return why the request was refused that a node quotes this correlation id of."""
    return ExplainedView.of(services.explanations.of_correlation(caller, correlation_id))


@router.get("/decisions")
def decisions(
    query: Annotated[DecisionQuery, Query()], caller: Caller, services: Services
) -> PageView[DecisionView]:
    """List decisions, oldest first, refused enrollments included."""
    found = services.explanations.decisions(
        caller, limit=query.limit, after=query.after, node_id=query.node_id
    )
    return PageView(items=[DecisionView.of(item) for item in found.items], after=found.after)
