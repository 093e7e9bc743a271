"""The marker that says which installation a database belongs to (F29, F14)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique


@unique
class SystemKind(StrEnum):
    """A database never changes kind."""

    production = "production"
    development = "development"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemMarker:
    """Written once when the database is first used.

    `generation` is 1 from then on: no command restores a backup and counts it up yet.
    """

    kind: SystemKind
    trust_domain: str
    generation: int
    created: datetime
