"""Leases and the exposure ledger."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, assert_never

from sqlalchemy import bindparam, func, literal_column, select, update

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.adapters.db.rows import Composite, Rows, Scope
from sealward.controlplane.domain.errors import Code, Conflict
from sealward.controlplane.domain.leases import (
    Bounded,
    Closed,
    Exposure,
    Lease,
    LeasedModel,
    LeaseState,
    Open,
)
from sealward.controlplane.domain.records import Page

_L: Final = tables.leases.c
_M: Final = tables.lease_models.c


def _split(exposure: Exposure) -> tuple[str, datetime | None, str | None]:
    match exposure:
        case Closed():
            return "closed", None, None
        case Bounded(until):
            return "bounded", until, None
        case Open(reason):
            return "open", None, reason
        case _:
            assert_never(exposure)


def _join(kind: str, until: datetime | None, reason: str | None) -> Exposure:
    if kind == "closed":
        return Closed()
    if kind == "bounded" and until is not None:
        return Bounded(until)
    if kind == "open" and reason is not None:
        return Open(reason)
    raise ValueError("a lease without a readable exposure")


_LEASES: Final = Rows(
    tables.leases,
    Lease,
    ("lease_id",),
    "lease",
    composite=Composite(
        "exposure", ("exposure", "exposure_until", "exposure_reason"), _split, _join
    ),
)
_MODELS: Final = Rows(
    tables.lease_models, LeasedModel, ("lease_id", "model", "version"), "leased model"
)
# Written into the statement: the partial index over active leases serves no bound value.
_ACTIVE: Final = _L.state == literal_column(f"'{LeaseState.active}'")
_OF_NODE: Final = Prepared(
    _LEASES.fixed(_ACTIVE, _L.node_id == bindparam("k_node_id")).order_by(_L.lease_id)
)
_LINES: Final = Prepared(
    _MODELS.fixed(_M.lease_id == bindparam("k_lease_id")).order_by(_M.model, _M.version)
)
_CHANGE: Final = Prepared(
    update(tables.leases).where(
        _L.tenant == bindparam("k_tenant"),
        _L.lease_id == bindparam("k_lease_id"),
        _L.state == LeaseState.active,
        _L.not_after == bindparam("k_not_after"),
    ),
    columns=_LEASES.changing,
)
_COUNT: Final = Prepared(
    select(func.count()).where(
        _L.tenant == bindparam("k_tenant"),
        _L.state == LeaseState.active,
        _L.workload == bindparam("k_workload"),
    )
)


class LeaseRepository:
    """services.repositories.Leases over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def get(self, lease_id: str) -> Lease:
        """Return the lease; NotFound."""
        return _LEASES.get(self._scope, lease_id)

    def find(self, lease_id: str) -> Lease | None:
        """Return the lease or None."""
        return _LEASES.find(self._scope, lease_id)

    def add(self, lease: Lease, models: Iterable[LeasedModel]) -> None:
        """Insert a lease with the model versions that it carries; Conflict(already_exists)."""
        _LEASES.add(self._scope, lease)
        _MODELS.add_all(self._scope, models)

    def save(self, lease: Lease) -> None:
        """Overwrite the lease; NotFound."""
        _LEASES.save(self._scope, lease)

    def change(self, before: Lease, after: Lease) -> None:
        """Overwrite an active lease that still is as it was read; Conflict(state_changed)."""
        values = _LEASES.values(self._scope, after)
        values["k_tenant"], values["k_lease_id"] = self._scope.tenant, before.lease_id
        values["k_not_after"] = before.not_after
        if _CHANGE.count(self._scope.connection, values) != 1:
            raise Conflict(Code.state_changed, "a lease of this node ended meanwhile")

    def add_models(self, models: Iterable[LeasedModel]) -> None:
        """Add lines to the exposure ledger; a line that is already there stays as it is."""
        for line in models:
            if _MODELS.find(self._scope, line.lease_id, line.model, line.version) is None:
                _MODELS.add(self._scope, line)

    def models(self, lease_id: str) -> tuple[LeasedModel, ...]:
        """Return the model versions that a lease carried."""
        return _MODELS.fetch(self._scope, _LINES, k_lease_id=lease_id)

    def active_of_node(self, node_id: str) -> tuple[Lease, ...]:
        """Return the active leases of one node (at most one for each workload)."""
        return _LEASES.fetch(self._scope, _OF_NODE, k_node_id=node_id)

    def count_active(self, workload: str) -> int:
        """Count the active leases of a workload."""
        key = {"k_tenant": self._scope.tenant, "k_workload": workload}
        [(count,)] = _COUNT.rows(self._scope.connection, key)
        return int(count)

    def page(
        self,
        *,
        limit: int,
        after: str | None = None,
        node_id: str | None = None,
        workload: str | None = None,
        active: bool | None = None,
    ) -> Page[Lease]:
        """List leases by lease_id, optionally of one node, of one workload, active or ended."""
        state = None if active is None else LeaseState.active if active else LeaseState.ended
        where = {"node_id": node_id, "workload": workload, "state": state}
        return _LEASES.page(self._scope, limit=limit, after=after, where=where)

    def lapsed(self, now: datetime, *, limit: int) -> tuple[Lease, ...]:
        """Return active leases whose horizon is at or before `now`, oldest horizon first."""
        query = _LEASES.select(self._scope, _L.state == LeaseState.active, _L.not_after <= now)
        return _LEASES.all(self._scope, query.order_by(_L.not_after, _L.lease_id).limit(limit))

    def exposures(
        self, workload: str, model: str, version: int, *, limit: int, after: str | None = None
    ) -> Page[Lease]:
        """List every lease that ever carried the content key of this model version."""
        carried = select(_M.lease_id).where(
            _M.tenant == self._scope.tenant, _M.model == model, _M.version == version
        )
        return _LEASES.page(
            self._scope,
            limit=limit,
            after=after,
            where={"workload": workload},
            only=_L.lease_id.in_(carried),
        )
