"""Leases over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self, assert_never

from fastapi import APIRouter, Query

from sealward.controlplane.api.route import Caller, GuardedRoute, PageView, Paging, Services, View
from sealward.controlplane.domain.leases import (
    Bounded,
    Closed,
    Exposure,
    Lease,
    LeasedModel,
    LeaseState,
    Open,
    WipeStatement,
    WipeStatus,
)

router = APIRouter(route_class=GuardedRoute, prefix="/leases", tags=["leases"])


class ExposureView(View):
    """What became of the key: closed, bounded until an instant, or open for a reason (F1)."""

    state: Literal["closed", "bounded", "open"]
    until: datetime | None = None
    reason: str | None = None

    @classmethod
    def of(cls, exposure: Exposure) -> Self:
        """Show one."""
        match exposure:
            case Closed():
                return cls(state="closed")
            case Bounded(until=until):
                return cls(state="bounded", until=until)
            case Open(reason=reason):
                return cls(state="open", reason=reason)
        assert_never(exposure)


class LeaseView(View):
    """A lease. `horizon` is the latest instant at which an unmodified agent could use the key."""

    lease_id: str
    node_id: str
    workload: str
    state: LeaseState
    granted: datetime
    horizon: datetime
    horizon_cause: str
    ended: datetime | None
    end_cause: str
    exposure: ExposureView
    sequence: int

    @classmethod
    def of(cls, lease: Lease) -> Self:
        """Show one."""
        return cls(
            lease_id=lease.lease_id,
            node_id=lease.node_id,
            workload=lease.workload,
            state=lease.state,
            granted=lease.granted,
            horizon=lease.not_after,
            horizon_cause=lease.horizon_cause,
            ended=lease.ended,
            end_cause=lease.end_cause,
            exposure=ExposureView.of(lease.exposure),
            sequence=lease.sequence,
        )


class LeasedModelView(View):
    """A model version whose content key the lease carried."""

    model: str
    version: int
    content_key_id: str

    @classmethod
    def of(cls, leased: LeasedModel) -> Self:
        """Show one."""
        return cls(model=leased.model, version=leased.version, content_key_id=leased.content_key_id)


class WipeView(View):
    """What an agent said that it wiped; `claimed` until fresh evidence bound it (F3)."""

    statement_id: str
    sequence: int
    received: datetime
    status: WipeStatus

    @classmethod
    def of(cls, wipe: WipeStatement) -> Self:
        """Show one."""
        return cls(
            statement_id=wipe.statement_id,
            sequence=wipe.sequence,
            received=wipe.received,
            status=wipe.status,
        )


class LeaseInFull(LeaseView):
    """A lease with the models it carried and the wipe statements of its node."""

    models: list[LeasedModelView]
    wipes: list[WipeView]


class LeaseQuery(Paging):
    """Which leases."""

    node_id: str | None = None
    workload: str | None = None
    active: bool | None = None


@router.get("")
def page(
    query: Annotated[LeaseQuery, Query()], caller: Caller, services: Services
) -> PageView[LeaseView]:
    """List leases by id."""
    found = services.leases.page(
        caller,
        limit=query.limit,
        after=query.after,
        node_id=query.node_id,
        workload=query.workload,
        active=query.active,
    )
    return PageView(items=[LeaseView.of(item) for item in found.items], after=found.after)


@router.get("/{lease_id}")
def get(lease_id: str, caller: Caller, services: Services) -> LeaseInFull:
    """Return a lease with what it carried."""
    found = services.leases.get(caller, lease_id)
    return LeaseInFull(
        **dict(LeaseView.of(found.lease)),
        models=[LeasedModelView.of(item) for item in found.models],
        wipes=[WipeView.of(item) for item in found.wipes],
    )
