"""Nodes over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query

from sealward.controlplane.api.route import (
    Caller,
    GuardedRoute,
    PageView,
    Paging,
    Services,
    Strict,
    View,
)
from sealward.controlplane.domain.decisions import Decision, DecisionKind, Outcome
from sealward.controlplane.domain.nodes import (
    ClockClass,
    FailureClass,
    Node,
    NodeEvidence,
    NodeState,
)
from sealward.controlplane.services.nodes import NodeMove
from sealward.verifier.rats.result import Posture
from sealward.verifier.wire import json

router = APIRouter(route_class=GuardedRoute, tags=["nodes"])

_MAX_STORED_BYTES = 16 * 1024 * 1024  # what was stored was bounded when it was made


class NodeView(View):
    """A node: one instance of an attester."""

    node_id: str
    state: NodeState
    posture: Posture
    posture_code: str
    failure_class: FailureClass | None
    tee: str
    instance_value: str
    platform_id: str | None
    provider: str | None
    labels_attested: dict[str, str]
    labels_assigned: dict[str, str]
    development: bool
    clock: ClockClass
    agent_version: str
    enrolled: datetime
    last_attested: datetime | None
    quarantined: datetime | None
    predecessor: str | None

    @classmethod
    def of(cls, node: Node) -> Self:
        """Show one."""
        return cls(
            node_id=node.node_id,
            state=node.state,
            posture=node.posture,
            posture_code=node.posture_code,
            failure_class=node.failure_class,
            tee=node.tee,
            instance_value=node.instance_value,
            platform_id=node.platform_id,
            provider=node.provider,
            labels_attested=dict(node.labels_attested),
            labels_assigned=dict(node.labels_assigned),
            development=node.development,
            clock=node.clock,
            agent_version=node.agent_version,
            enrolled=node.enrolled,
            last_attested=node.last_attested,
            quarantined=node.quarantined,
            predecessor=node.predecessor,
        )


class DecisionView(View):
    """A decision with every reason: rule, claim, expected, actual, hint."""

    decision_id: str
    node_id: str
    kind: DecisionKind
    outcome: Outcome
    code: str
    posture: Posture | None
    trust_vector: Any
    reasons: Any
    input_digests: Any
    correlation_id: str
    decided: datetime

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """Show one."""
        return cls(
            decision_id=decision.decision_id,
            node_id=decision.node_id,
            kind=decision.kind,
            outcome=decision.outcome,
            code=decision.code,
            posture=decision.posture,
            trust_vector=_stored(decision.trust_vector),
            reasons=_stored(decision.reasons),
            input_digests=_stored(decision.input_digests),
            correlation_id=decision.correlation_id,
            decided=decision.decided,
        )


class EvidenceView(View):
    """What the node's latest evidence said, and the digests of what read it."""

    as_of: datetime
    posture: Posture
    trust_vector: Any
    reasons: Any
    claims: Any
    evidence_digest: str
    claims_digest: str
    verifier_build: str
    anchors_digest: str
    matches: list[str]

    @classmethod
    def of(cls, evidence: NodeEvidence) -> Self:
        """Show one."""
        return cls(
            as_of=evidence.as_of,
            posture=evidence.posture,
            trust_vector=_stored(evidence.trust_vector),
            reasons=_stored(evidence.reasons),
            claims=_stored(evidence.claims),
            evidence_digest=evidence.evidence_digest,
            claims_digest=evidence.claims_digest,
            verifier_build=evidence.verifier_build,
            anchors_digest=evidence.anchors_digest,
            matches=[f"{match.kind} {match.key}" for match in evidence.matches],
        )


class NodeQuery(Paging):
    """Which nodes."""

    state: NodeState | None = None
    posture: Posture | None = None


class Why(Strict):
    """The reason, for the audit log."""

    reason: str = ""


@router.get("/nodes")
def page(
    query: Annotated[NodeQuery, Query()], caller: Caller, services: Services
) -> PageView[NodeView]:
    """List nodes by id."""
    found = services.nodes.page(
        caller, limit=query.limit, after=query.after, state=query.state, posture=query.posture
    )
    return PageView(items=[NodeView.of(item) for item in found.items], after=found.after)


@router.get("/nodes/{node_id}")
def get(node_id: str, caller: Caller, services: Services) -> NodeView:
    """Return one node."""
    return NodeView.of(services.nodes.get(caller, node_id))


@router.post("/nodes/{node_id}/admit")
def admit(node_id: str, body: Why, caller: Caller, services: Services) -> NodeView:
    """Admit a pending node."""
    return NodeView.of(services.nodes.move(caller, node_id, NodeMove.admit, reason=body.reason))


@router.post("/nodes/{node_id}/reject")
def reject(node_id: str, body: Why, caller: Caller, services: Services) -> NodeView:
    """Reject a pending node."""
    return NodeView.of(services.nodes.move(caller, node_id, NodeMove.reject, reason=body.reason))


@router.post("/nodes/{node_id}/retire")
def retire(node_id: str, body: Why, caller: Caller, services: Services) -> NodeView:
    """Retire an admitted node: its leases end."""
    return NodeView.of(services.nodes.move(caller, node_id, NodeMove.retire, reason=body.reason))


@router.post("/nodes/{node_id}/quarantine")
def quarantine(node_id: str, body: Why, caller: Caller, services: Services) -> NodeView:
    """Take a node's leases away until it is released."""
    return NodeView.of(services.nodes.quarantine(caller, node_id, reason=body.reason))


@router.post("/nodes/{node_id}/release")
def release(node_id: str, body: Why, caller: Caller, services: Services) -> NodeView:
    """End a quarantine; only fresh evidence raises the posture again."""
    return NodeView.of(services.nodes.release(caller, node_id, reason=body.reason))


def _stored(text: str) -> json.Value:
    return json.decode(text, what="stored record", max_bytes=_MAX_STORED_BYTES)
