"""Platforms over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import Field

from sealward.controlplane.api.route import (
    Caller,
    GuardedRoute,
    PageQuery,
    PageView,
    Services,
    Strict,
    View,
)
from sealward.controlplane.domain.platforms import Platform, PlatformState

router = APIRouter(route_class=GuardedRoute, prefix="/platforms", tags=["platforms"])


class PlatformView(View):
    """An administrator's statement about one platform."""

    platform_id: str
    state: PlatformState
    note: str
    by: str
    changed: datetime

    @classmethod
    def of(cls, platform: Platform) -> Self:
        """Show one."""
        return cls(
            platform_id=platform.platform_id,
            state=platform.state,
            note=platform.note,
            by=platform.by,
            changed=platform.changed,
        )


class PlatformStatement(Strict):
    """Whether we accept the platform, and a note for the next reader."""

    state: Annotated[PlatformState, Field(strict=False)]
    note: str = ""


@router.put("/{platform_id}")
def put(
    platform_id: str, body: PlatformStatement, caller: Caller, services: Services
) -> PlatformView:
    """Allow or deny a platform."""
    if body.state is PlatformState.allowed:
        return PlatformView.of(services.platforms.allow(caller, platform_id, note=body.note))
    return PlatformView.of(services.platforms.deny(caller, platform_id, note=body.note))


@router.get("")
def page(query: PageQuery, caller: Caller, services: Services) -> PageView[PlatformView]:
    """List platforms by id."""
    found = services.platforms.page(caller, limit=query.limit, after=query.after)
    return PageView(items=[PlatformView.of(item) for item in found.items], after=found.after)
