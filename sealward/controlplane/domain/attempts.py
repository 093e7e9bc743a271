"""Attempts that were refused before anything was decided (docs/specs/explanations.md, 4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final

from sealward.controlplane.domain.records import JsonText

KEPT_OF_A_NODE: Final = 16  # of the newest: a failing node tries again and again for one reason
KEPT_OF_STRANGERS: Final = 1024  # of all instances together that never enrolled
STRANGERS_A_MINUTE: Final = 60  # new ones; a flood takes a quarter of an hour to push others out
KEPT_FOR: Final = timedelta(days=30)


@unique
class AttemptCall(StrEnum):
    """What was asked for."""

    enroll = "enroll"
    attest = "attest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One refused attempt. `reason` is one finding, in the canonical JSON of a recorded reason.

    `node_id` is the thumbprint of a key that the caller has proven to hold; `enrolled` says whether
    a node of ours had it then.
    """

    attempt_id: str
    correlation_id: str
    node_id: str
    enrolled: bool
    call: AttemptCall
    code: str  # of domain/errors.py
    reason: JsonText
    at: datetime
