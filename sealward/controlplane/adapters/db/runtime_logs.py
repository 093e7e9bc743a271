"""What is kept of the nodes' runtime measurement lists."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.runtime_logs import KeptRuntimeLog

_LOGS: Final = Rows(tables.runtime_logs, KeptRuntimeLog, ("node_id",), "runtime log of node")
_L: Final = tables.runtime_logs.c
_DIGEST: Final = Prepared(
    select(_L.digest).where(
        _L.tenant == bindparam("k_tenant"), _L.node_id == bindparam("k_node_id")
    )
)


class RuntimeLogRepository:
    """services.repositories.RuntimeLogs over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def digest(self, node_id: str) -> str | None:
        """Return the digest of what is kept of a node, or None."""
        values = {"k_tenant": self._scope.tenant, "k_node_id": node_id}
        rows = _DIGEST.rows(self._scope.connection, values)
        return str(rows[0][0]) if rows else None

    def find(self, node_id: str) -> KeptRuntimeLog | None:
        """Return what is kept of a node, or None."""
        return _LOGS.find(self._scope, node_id)

    def put(self, kept: KeptRuntimeLog) -> None:
        """Insert or overwrite."""
        _LOGS.put(self._scope, kept)
