"""Platforms: the hardware under nodes, and whether we accept it (F6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique


@unique
class PlatformState(StrEnum):
    """A platform without a record is unknown, which admits nothing by itself."""

    allowed = "allowed"
    denied = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """An administrator's statement about one platform id (chip id, PPID, EK digest; lower hex)."""

    platform_id: str
    state: PlatformState
    note: str
    by: str
    changed: datetime
    entry_id: str
