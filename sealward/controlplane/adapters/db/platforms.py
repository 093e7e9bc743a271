"""Platforms."""

from __future__ import annotations

from typing import Final

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.platforms import Platform
from sealward.controlplane.domain.records import Page

_PLATFORMS: Final = Rows(tables.platforms, Platform, ("platform_id",), "platform")


class PlatformRepository:
    """services.repositories.Platforms over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def find(self, platform_id: str) -> Platform | None:
        """Return the platform or None, which means unknown."""
        return _PLATFORMS.find(self._scope, platform_id)

    def put(self, platform: Platform) -> None:
        """Insert or overwrite."""
        _PLATFORMS.put(self._scope, platform)

    def page(self, *, limit: int, after: str | None = None) -> Page[Platform]:
        """List platforms by platform_id."""
        return _PLATFORMS.page(self._scope, limit=limit, after=after)
