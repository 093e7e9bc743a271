"""Nodes as administrators see and steer them: list, admit, reject, retire, quarantine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.domain.nodes import FailureClass, Node, NodeState
from sealward.controlplane.domain.platforms import PlatformState
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import Page
from sealward.controlplane.services import inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.result import Posture


@unique
class NodeMove(StrEnum):
    """What a person may decide about a node's membership."""

    admit = "admit"
    reject = "reject"
    retire = "retire"


# An absent entry is a refusal: a rejected or retired instance comes back only by a new enrollment.
TRANSITIONS: Final[Mapping[NodeState, Mapping[NodeMove, NodeState]]] = MappingProxyType(
    {
        NodeState.pending: MappingProxyType(
            {NodeMove.admit: NodeState.admitted, NodeMove.reject: NodeState.rejected}
        ),
        NodeState.admitted: MappingProxyType({NodeMove.retire: NodeState.retired}),
        NodeState.rejected: MappingProxyType({}),
        NodeState.retired: MappingProxyType({}),
    }
)

_RIGHTS: Final[Mapping[NodeMove, Right]] = MappingProxyType(
    {
        NodeMove.admit: Right.node_admit,
        NodeMove.reject: Right.node_restrict,
        NodeMove.retire: Right.node_restrict,
    }
)
_KINDS: Final[Mapping[NodeMove, AuditKind]] = MappingProxyType(
    {
        NodeMove.admit: AuditKind.node_admitted,
        NodeMove.reject: AuditKind.node_rejected,
        NodeMove.retire: AuditKind.node_retired,
    }
)


@dataclass(frozen=True, slots=True)
class Nodes:
    """Use cases around nodes."""

    on: Dependencies

    def page(
        self,
        principal: Principal,
        *,
        limit: int,
        after: str | None,
        state: NodeState | None = None,
        posture: Posture | None = None,
    ) -> Page[Node]:
        """List nodes by id."""
        require(principal, Right.node_read)
        return self.on.database.read(
            lambda tx: tx.nodes.page(limit=limit, after=after, state=state, posture=posture)
        )

    def get(self, principal: Principal, node_id: str) -> Node:
        """Return one node; NotFound(node_unknown)."""
        require(principal, Right.node_read)
        return self.on.database.read(lambda tx: tx.nodes.get(node_id))

    def move(self, principal: Principal, node_id: str, move: NodeMove, *, reason: str) -> Node:
        """Admit or reject a pending node, or retire an admitted one.

        Raises:
            Refused: forbidden, invalid_request.
            NotFound: node_unknown.
            Conflict: state_changed, the node's state does not allow this.
        """
        require(principal, _RIGHTS[move])
        inputs.text(reason, "the reason")
        now = self.on.clock.now()

        def work(tx: Transaction) -> Node:
            node = tx.nodes.get(node_id)
            state = TRANSITIONS[node.state].get(move)
            if state is None:
                raise Conflict(
                    Code.state_changed,
                    f"the node is {node.state}: there is no {move} from there",
                    "look at it with `sealward node show`",
                )
            if move is NodeMove.admit:
                _refuse_denied_platform(tx, node)
            moved = replace(node, state=state)
            tx.nodes.save(moved)
            body: Body = {
                "node": node_id,
                "from": str(node.state),
                "to": str(state),
                "reason": reason,
            }
            self.on.record(tx, _KINDS[move], body, by=principal, now=now)
            if move is not NodeMove.admit:  # admission takes nothing away
                self.on.fence(tx, fences.node(node_id), {"code": f"node_{state}"}, now)
            return moved

        moved = self.on.database.write(work)
        self.on.wake.sweeps()
        return moved

    def quarantine(self, principal: Principal, node_id: str, *, reason: str) -> Node:
        """Take a node's leases away and give it none until it is released, whatever it proves.

        Raises:
            Refused: forbidden, invalid_request.
            NotFound: node_unknown.
            Conflict: state_changed, it is quarantined already.
        """
        require(principal, Right.node_restrict)
        inputs.text(reason, "the reason", least=1)
        now = self.on.clock.now()

        def work(tx: Transaction) -> Node:
            node = tx.nodes.get(node_id)
            if node.quarantined is not None:
                raise Conflict(Code.state_changed, "the node is quarantined already")
            moved = replace(
                node,
                posture=Posture.QUARANTINED,
                posture_code=Code.node_quarantined,
                quarantined=now,
            )
            tx.nodes.save(moved)
            body: Body = {"node": node_id, "reason": reason}
            self.on.record(tx, AuditKind.node_quarantined, body, by=principal, now=now)
            self.on.fence(tx, fences.node(node_id), {"code": Code.node_quarantined}, now)
            return moved

        moved = self.on.database.write(work)
        self.on.wake.sweeps()
        return moved

    def release(self, principal: Principal, node_id: str, *, reason: str) -> Node:
        """End a quarantine. The posture becomes `stale`: only fresh evidence raises it.

        Raises:
            Refused: forbidden, invalid_request.
            NotFound: node_unknown.
            Conflict: state_changed, it is not quarantined.
        """
        require(principal, Right.node_release)
        inputs.text(reason, "the reason", least=1)
        now = self.on.clock.now()

        def work(tx: Transaction) -> Node:
            node = tx.nodes.get(node_id)
            if node.quarantined is None:
                raise Conflict(Code.state_changed, "the node is not quarantined")
            if node.failure_class is FailureClass.clone:
                # Releasing it would hand the instance to whichever holder attests first.
                raise Refused(
                    Code.node_quarantined,
                    "two holders of this instance were seen, and nothing can tell them apart",
                    "retire it; the genuine node enrols again with fresh keys",
                )
            moved = replace(
                node,
                posture=Posture.STALE,
                posture_code="released",
                failure_class=None,
                quarantined=None,
            )
            tx.nodes.save(moved)
            body: Body = {"node": node_id, "reason": reason}
            self.on.record(tx, AuditKind.node_released, body, by=principal, now=now)
            self.on.fence(tx, fences.node(node_id), {"code": "node_released"}, now)
            return moved

        moved = self.on.database.write(work)
        self.on.wake.sweeps()
        return moved


def _refuse_denied_platform(tx: Transaction, node: Node) -> None:
    platform = None if node.platform_id is None else tx.platforms.find(node.platform_id)
    if platform is not None and platform.state is PlatformState.denied:
        raise Refused(
            Code.platform_denied,
            "the node's platform is denied",
            "allow the platform first, or reject the node",
        )
