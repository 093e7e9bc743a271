"""Nodes and the latest evidence of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Select, bindparam, delete, func, select, update
from sqlalchemy import insert as insert_into

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.prepared import Prepared, Row
from sealward.controlplane.adapters.db.rows import Rows, Scope, cursor, paged
from sealward.controlplane.domain.errors import Code, Conflict
from sealward.controlplane.domain.nodes import (
    Node,
    NodeEvidence,
    NodeState,
    ReferenceMatch,
)
from sealward.controlplane.domain.records import Page
from sealward.verifier.rats.result import Posture

_NODES: Final = Rows(
    tables.nodes,
    Node,
    ("node_id",),
    "node",
    missing=Code.node_unknown,
    frozen=("terms_sequence",),
)
_EVIDENCE: Final = Rows(
    tables.node_evidence, NodeEvidence, ("node_id",), "evidence of node", elsewhere=("matches",)
)
_N: Final = tables.nodes.c
_M: Final = tables.node_reference_matches.c

_THIS_NODE: Final = (_N.tenant == bindparam("k_tenant"), _N.node_id == bindparam("k_node_id"))
_COUNT_UP: Final = Prepared(
    update(tables.nodes)
    .where(*_THIS_NODE)
    .values(terms_sequence=_N.terms_sequence + 1)
    .returning(_N.terms_sequence)
)
# What an attestation says of a node. Its labels and its state are others' business, who may be
# writing them at the same time.
_ATTESTED_COLUMNS: Final = (
    "posture",
    "posture_code",
    "failure_class",
    "platform_id",
    "provider",
    "clock",
    "agent_version",
    "hpke_public",
    "signing_public",
    "ratchet_confirmed",
    "ratchet_issued",
    "last_attested",
)
_ATTESTED: Final = Prepared(
    update(tables.nodes)
    .where(*_THIS_NODE, _N.terms_sequence == bindparam("k_terms_sequence"))
    .values(terms_sequence=_N.terms_sequence + 1),
    columns=_ATTESTED_COLUMNS,
)
_THIS_NODES_MATCHES: Final = (
    _M.tenant == bindparam("k_tenant"),
    _M.node_id == bindparam("k_node_id"),
)
_FORGET_MATCH: Final = Prepared(
    delete(tables.node_reference_matches).where(
        *_THIS_NODES_MATCHES, _M.kind == bindparam("k_kind"), _M.key == bindparam("k_key")
    )
)
_MATCHES: Final = Prepared(
    select(_M.kind, _M.key).where(*_THIS_NODES_MATCHES).order_by(_M.kind, _M.key)
)
_ADD_MATCH: Final = Prepared(
    insert_into(tables.node_reference_matches), columns=("tenant", "node_id", "kind", "key")
)


class NodeRepository:
    """services.repositories.Nodes over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def get(self, node_id: str) -> Node:
        """Return the node; NotFound(node_unknown)."""
        return _NODES.get(self._scope, node_id)

    def find(self, node_id: str) -> Node | None:
        """Return the node or None."""
        return _NODES.find(self._scope, node_id)

    def add(self, node: Node) -> None:
        """Insert; Conflict(already_exists)."""
        _NODES.add(self._scope, node)

    def save(self, node: Node) -> None:
        """Overwrite everything but `terms_sequence`; NotFound(node_unknown)."""
        _NODES.save(self._scope, node)

    def attested(self, node: Node) -> int:
        """Store what an attestation changes and count the terms up; Conflict(state_changed)."""
        values = {name: getattr(node, name) for name in _ATTESTED_COLUMNS}
        values["k_tenant"], values["k_node_id"] = self._scope.tenant, node.node_id
        values["k_terms_sequence"] = node.terms_sequence
        if _ATTESTED.count(self._scope.connection, values) != 1:
            raise Conflict(Code.state_changed, "other terms of this node came first")
        return node.terms_sequence + 1

    def next_terms_sequence(self, node_id: str) -> int:
        """Count the node's terms up by one and return the new number; NotFound(node_unknown)."""
        key = {"k_tenant": self._scope.tenant, "k_node_id": node_id}
        counted = _COUNT_UP.rows(self._scope.connection, key)
        if not counted:
            raise _NODES.missing(node_id)
        return int(counted[0][0])

    def page(
        self,
        *,
        limit: int,
        after: str | None = None,
        state: NodeState | None = None,
        posture: Posture | None = None,
    ) -> Page[Node]:
        """List nodes by node_id, optionally of one state or posture."""
        where = {"state": state, "posture": posture}
        return _NODES.page(self._scope, limit=limit, after=after, where=where)

    def on_platform(self, platform_id: str, *, limit: int, after: str | None = None) -> Page[str]:
        """List the ids of the nodes on one platform."""
        query = select(_N.node_id).where(
            _N.tenant == self._scope.tenant, _N.platform_id == platform_id
        )
        return _ids(self._scope, paged(query, [_N.node_id], limit, after), limit)

    def on_platforms(self, prefix: str, *, limit: int, after: str | None = None) -> Page[str]:
        """List the ids of the nodes whose platform id begins with `prefix`, by platform."""
        order = [_N.platform_id, _N.node_id]
        query = select(*order).where(
            _N.tenant == self._scope.tenant,
            _N.platform_id >= prefix,
            _N.platform_id < prefix[:-1] + chr(ord(prefix[-1]) + 1),
        )
        rows = self._scope.connection.execute(paged(query, order, limit, after)).all()
        following = cursor([*rows[limit - 1]]) if len(rows) > limit else None
        return Page(tuple(node_id for _, node_id in rows[:limit]), following)

    def count(self, *, state: NodeState | None = None, posture: Posture | None = None) -> int:
        """Count nodes."""
        query = select(func.count()).where(_N.tenant == self._scope.tenant)
        if state is not None:
            query = query.where(_N.state == state)
        if posture is not None:
            query = query.where(_N.posture == posture)
        return self._scope.connection.execute(query).scalar_one()


class EvidenceRepository:
    """services.repositories.Evidence over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def put(self, evidence: NodeEvidence) -> None:
        """Replace the node's evidence and its matches."""
        _EVIDENCE.put(self._scope, evidence)
        node = {"tenant": self._scope.tenant, "node_id": evidence.node_id}
        before = set(self._rows_of_matches(evidence.node_id))
        after = {(match.kind, match.key) for match in evidence.matches}
        # What stays is not written: nothing at a renewal in order, and little where a node with
        # thousands of measured files has run one more.
        for kind, key in before - after:
            row = {**node, "kind": kind, "key": key}
            _FORGET_MATCH.count(self._scope.connection, {f"k_{k}": v for k, v in row.items()})
        for kind, key in after - before:
            _ADD_MATCH.count(self._scope.connection, {**node, "kind": kind, "key": key})

    def find(self, node_id: str) -> NodeEvidence | None:
        """Return the latest evidence of a node, matches included, or None."""
        evidence = _EVIDENCE.find(self._scope, node_id)
        return None if evidence is None else replace(evidence, matches=self._matches(node_id))

    def matching(self, kind: str, key: str, *, limit: int, after: str | None = None) -> Page[str]:
        """List the ids of the nodes whose latest appraisal matched this reference value."""
        query = select(_M.node_id).where(
            _M.tenant == self._scope.tenant, _M.kind == kind, _M.key == key
        )
        return _ids(self._scope, paged(query, [_M.node_id], limit, after), limit)

    def _matches(self, node_id: str) -> tuple[ReferenceMatch, ...]:
        return tuple(ReferenceMatch(kind, key) for kind, key in self._rows_of_matches(node_id))

    def _rows_of_matches(self, node_id: str) -> list[Row]:
        key = {"k_tenant": self._scope.tenant, "k_node_id": node_id}
        return _MATCHES.rows(self._scope.connection, key)  # (kind, key)


def _ids(scope: Scope, query: Select[Any], limit: int) -> Page[str]:
    found = tuple(scope.connection.execute(query).scalars())
    return Page(found[:limit], cursor([found[limit - 1]]) if len(found) > limit else None)
