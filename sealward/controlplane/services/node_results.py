"""Attestation results for administrators, and the keys that sign them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.decisions import Decision, DecisionKind
from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.domain.horizon import Limit
from sealward.controlplane.domain.keys import RESULT_KEY_OVERLAP
from sealward.controlplane.domain.nodes import Node, NodeEvidence
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import new_id
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.admitted import require_admitted
from sealward.controlplane.services.attestation_results import (
    Finding,
    IssuedResult,
    ResultIssuer,
    ResultRequest,
    result_end,
)
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.collateral_view import MATCH_KIND
from sealward.controlplane.services.facts import read_reference_view
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.wire import json

_LOOKED_THROUGH: Final = 10  # decisions; those that did not appraise come between
# Sweeps of one node, one piece of collateral or one workload; any other may concern every node.
_OF_SOME: Final = (fences.node(""), f"{fences.COLLATERAL}/", fences.workload(""))
_APPRAISING: Final = (DecisionKind.enroll, DecisionKind.attest, DecisionKind.reappraise)


@dataclass(frozen=True, slots=True)
class NodeResults:
    """Use cases around attestation results."""

    on: Dependencies
    issuer: ResultIssuer

    def issue(self, principal: Principal, node_id: str, request: ResultRequest) -> IssuedResult:
        """Sign a result about a node from what is on record of its latest evidence.

        Raises:
            Refused: forbidden, invalid_request; the node's state; horizon_passed, its evidence is
                too old.
            NotFound: node_unknown.
            Conflict: state_changed, a sweep that may lower the node has not ended.
        """
        require(principal, Right.node_result)
        request.require_valid()
        now = self.on.clock.now()
        result_id = new_id(now, self.on.random_bytes)

        found = self.on.database.read(
            lambda tx: _finding(tx, require_admitted(tx.nodes.get(node_id)), now)
        )
        issued = self.issuer.issue(found, request, result_id=result_id, now=now)
        body: Body = {
            "node": node_id,
            "result": result_id,
            "audience": request.audience,
            "expires": issued.expires.isoformat(),
        }
        self.on.database.write(
            lambda tx: self.on.record(tx, AuditKind.node_result_issued, body, by=principal, now=now)
        )
        return issued

    def key_set(self) -> bytes:
        """Return the JWK set, for anybody."""
        return self.issuer.key_set(self.on.clock.now())

    def rotate(self, principal: Principal, *, revoke: bool) -> bytes:
        """Begin to sign with a fresh key and return the key set.

        Args:
            principal: who asks.
            revoke: drop the keys before it at once: every result that they signed is refused by
                readers that fetch the set again.

        Raises:
            Refused: forbidden.
            Conflict: state_changed, the current key is so young that results of the one before it
                are still in use, and `revoke` was not asked for.
        """
        require(principal, Right.result_key_rotate)
        now = self.on.clock.now()
        if not revoke and now < self.issuer.keystore.result_keys()[0].made + RESULT_KEY_OVERLAP:
            raise Conflict(
                Code.state_changed,
                "the key was replaced less than an hour ago",
                "wait, or revoke the older keys: results that they signed are then refused",
            )
        # Recorded first: what readers will see must be explained, whatever happens in between.
        body: Body = {"revoked": revoke}
        self.on.database.write(
            lambda tx: self.on.record(
                tx, AuditKind.result_key_replaced, body, by=principal, now=now
            )
        )
        self.issuer.keystore.rotate_result_key(now, keep_previous=not revoke)
        return self.issuer.key_set(now)


def _finding(tx: Transaction, node: Node, now: datetime) -> Finding:
    evidence = tx.evidence.find(node.node_id)
    decision = next(iter(_appraisals(tx, node.node_id)), None)
    if evidence is None or decision is None:
        raise Refused(
            Code.horizon_passed,
            "nothing is on record about this node's evidence",
            "wait until the node has attested",
        )
    _require_swept(tx, evidence)
    claims = ClaimsDocument.recorded(evidence.claims)
    leases = tx.leases.active_of_node(node.node_id)
    return Finding(
        tls_spki=node.tls_spki,
        decision=decision,
        evidence=evidence,
        posture=node.posture,
        until=result_end(
            as_of=evidence.as_of,
            clock=node.clock,
            limits=(*_collateral_ends(claims), *read_reference_view(tx, claims, now).limits),
            lease_ends=(lease.not_after for lease in leases),
        ),
    )


def _require_swept(tx: Transaction, evidence: NodeEvidence) -> None:
    """Refuse to restate a decision that a fence has left behind, until the sweep has looked (F16).

    Raises:
        Conflict: state_changed.
    """
    pieces = {match.key for match in evidence.matches if match.kind == MATCH_KIND}
    concerned = {fences.node(evidence.node_id), *(f"{fences.COLLATERAL}/{one}" for one in pieces)}
    for sweep in tx.sweeps.running():
        of_some = sweep.scope.startswith(_OF_SOME)
        if sweep.scope in concerned or not of_some:
            raise Conflict(
                Code.state_changed,
                f"{sweep.scope} has changed, and what it takes away is still being worked out",
                "ask again in a few seconds",
            )


def _appraisals(tx: Transaction, node_id: str) -> Iterator[Decision]:
    for decision in tx.decisions.latest(node_id, limit=_LOOKED_THROUGH):
        if decision.kind in _APPRAISING:
            yield decision


def _collateral_ends(claims: ClaimsDocument) -> Iterator[Limit]:
    values = claims.values
    devices = cast("Mapping[str, Mapping[str, json.Canonical]]", values.get("submods", {}))
    for one in (values, *devices.values()):
        collateral = cast("Mapping[str, str]", one["collateral"])
        yield Limit("collateral", datetime.fromisoformat(collateral["not_after"]))
