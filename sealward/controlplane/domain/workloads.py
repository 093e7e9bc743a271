"""Workloads, their HPKE keys and the sealed model versions they may run (F2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum, unique

from sealward.controlplane.domain.records import JsonText


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A named right to run model versions, on the nodes its selector admits."""

    name: str
    data_class: str
    production: bool  # a production workload is never released to a development node (F29)
    ttl: timedelta
    max_instances: int | None  # concurrent leases; over it is a refusal and a hint of cloning (F35)
    selector: JsonText
    created: datetime
    entry_id: str  # the audit entry of the last change (F13)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadKey:
    """One version of a workload's HPKE key pair.

    The private half only as wrapped by the keystore.
    """

    workload: str
    version: int
    key_id: str
    suite: str
    public: bytes
    wrapped_private: bytes = field(repr=False)
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Creator:
    """A creator key that an administrator pinned to a workload: whose models it may run."""

    workload: str
    key_id: str  # lower hex SHA-256 of `public`
    public: bytes = field(repr=False)  # the whole key, as docs/specs/sealed-model.md encodes it
    by: str
    added: datetime
    entry_id: str


@unique
class ModelState(StrEnum):
    """Only an active version is granted."""

    active = "active"
    withdrawn = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A registered sealed model version.

    `registration` is the sealed header as the owner signed it.
    """

    workload: str
    name: str
    version: int
    core_digest: str
    signed_digest: str
    content_key_id: str
    creator_key_id: str  # whose signatures were verified when it was registered
    registration: bytes = field(repr=False)
    state: ModelState
    registered: datetime
    entry_id: str
