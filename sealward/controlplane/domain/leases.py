"""Leases, the exposure each one leaves behind, and the signed statements (F1, F3, F9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique


@unique
class LeaseState(StrEnum):
    """A lease ends once and is never revived; a new grant is a new lease."""

    active = "active"
    ended = "ended"


@dataclass(frozen=True, slots=True)
class Closed:
    """Never held, or wiped with proof."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """An unmodified attested agent cannot use the key after `until`."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Open:
    """The key must be treated as disclosed; only resealing the model changes that."""

    reason: str


Exposure = Closed | Bounded | Open


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of one node to use granted content keys until `not_after`, its horizon.

    `sequence` is that of the signed terms that last spoke of it; `epoch_digest` names the fence
    values that the grant committed under.
    """

    lease_id: str
    node_id: str
    workload: str
    state: LeaseState
    granted: datetime
    challenge_issued: datetime
    not_after: datetime
    horizon_cause: str
    ended: datetime | None = None
    end_cause: str = ""
    exposure: Exposure
    sequence: int
    epoch_digest: str


@dataclass(frozen=True, slots=True)
class LeasedModel:
    """A line of the exposure ledger: this lease carried the content key of this model version."""

    lease_id: str
    model: str
    version: int
    content_key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTerms:
    """A signed statement to one node.

    At its place in that node's strictly increasing sequence (F16).
    """

    node_id: str
    sequence: int
    kind: str  # the kind named inside the signed terms
    cose: bytes = field(repr=False)
    created: datetime


@unique
class WipeStatus(StrEnum):
    """`claimed` is what the agent said.

    `proven` needs fresh affirming evidence that binds the statement (F3).
    """

    claimed = "claimed"
    proven = "proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class WipeStatement:
    """An agent's signed statement that it wiped keys."""

    node_id: str
    statement_id: str
    sequence: int  # of the terms it answers
    cose: bytes = field(repr=False)
    received: datetime
    status: WipeStatus
