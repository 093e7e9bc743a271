"""Which nodes may attest, and be spoken for."""

from __future__ import annotations

from collections.abc import Callable

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.nodes import Node, NodeState
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.claims import Claims


def require_admitted(node: Node) -> Node:
    """Return `node` if it may attest.

    Raises:
        Refused: `node_pending`, `node_rejected`, `node_retired` or `node_quarantined`.
    """
    if node.quarantined is not None:
        raise Refused(
            Code.node_quarantined,
            f"the node is quarantined: {node.posture_code}",
            "an operator releases it after review: sealward node release",
        )
    if node.state is NodeState.admitted:
        return node
    code = {
        NodeState.pending: Code.node_pending,
        NodeState.rejected: Code.node_rejected,
        NodeState.retired: Code.node_retired,
    }[node.state]
    raise Refused(code, f"the node is {node.state.value}", "enrol, or ask an operator to admit it")


def is_admitted(node_id: str) -> Callable[[Transaction], bool]:
    """Return the question whether a node is admitted and in no quarantine."""

    def known(tx: Transaction) -> bool:
        node = tx.nodes.find(node_id)
        return node is not None and node.state is NodeState.admitted and node.quarantined is None

    return known


def require_same_instance(known: Node | None, claims: Claims) -> None:
    """Refuse a key that has enrolled from another instance or on another platform.

    A key never leaves the instance it was born in, and an instance that may not migrate never
    leaves its platform.

    Raises:
        Refused: `instance_changed`.
    """
    if known is None:
        return
    before = (known.instance_value, known.platform_id)
    if before != (claims.instance_value, claims.platform_id):
        raise Refused(
            Code.instance_changed,
            "the evidence comes from another instance or platform than the one that enrolled"
            " this key",
            "enrol again with fresh keys",
        )
