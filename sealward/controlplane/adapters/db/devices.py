"""Which node holds which device, over SQL."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, select, tuple_

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.devices import DeviceHold
from sealward.controlplane.domain.nodes import NodeState

_HOLDS: Final = Rows(tables.device_holds, DeviceHold, ("device", "node_id"), "device of node")
_H: Final = tables.device_holds.c
_N: Final = tables.nodes.c
_HOLDERS: Final = Prepared(
    select(_H.node_id)
    .join(tables.nodes, (_N.tenant == _H.tenant) & (_N.node_id == _H.node_id))
    .where(
        _H.tenant == bindparam("k_tenant"),
        _H.device == bindparam("k_device"),
        _H.until > bindparam("k_now"),
        _N.state == NodeState.admitted,
    )
    .order_by(_H.node_id)
)


class DeviceRepository:
    """services.device_repository.Devices over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def hold(self, hold: DeviceHold) -> None:
        """Insert or overwrite."""
        _HOLDS.put(self._scope, hold)

    def holders(self, device: str, now: datetime) -> tuple[str, ...]:
        """Return the ids of the admitted nodes that hold a device at `now`, sorted."""
        values = {"k_tenant": self._scope.tenant, "k_device": device, "k_now": now}
        return tuple(node_id for (node_id,) in _HOLDERS.rows(self._scope.connection, values))

    def purge(self, now: datetime, *, limit: int) -> int:
        """Forget up to `limit` holds that have ended; return how many."""
        mine = _H.tenant == self._scope.tenant
        ended = select(_H.device, _H.node_id).where(mine, _H.until <= now).limit(limit)
        gone = delete(tables.device_holds).where(
            mine, tuple_(_H.device, _H.node_id).in_(ended), _H.until <= now
        )
        return self._scope.connection.execute(gone).rowcount
