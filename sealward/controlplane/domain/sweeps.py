"""Sweeps.

The resumable walk that ends what a fence has already made ungrantable (F16).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique

from sealward.controlplane.domain.records import JsonText


@unique
class SweepState(StrEnum):
    """A running sweep is picked up again after a crash at its cursor."""

    running = "running"
    done = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One sweep: its cause, the scope and epoch value of its fence, and how far it has come."""

    sweep_id: str
    cause: JsonText
    scope: str
    epoch: int
    cursor: str | None  # the last key visited
    state: SweepState
    started: datetime
    done: datetime | None = None
    affected: int = 0
