"""Reference sets and their values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from typing import Final

from sealward.controlplane.domain.records import JsonText

MAX_DOCUMENT_VALUES: Final = 20_000  # one import is one transaction, while other writers wait
MAX_DOCUMENT_BYTES: Final = 8 * 1024 * 1024  # of one import: its most values with room for names

COMPONENTS: Final = ("firmware", "kernel", "cmdline", "rootfs", "agent")  # that a digest may cover
PARAVISOR: Final = "paravisor"
"""A launch that is one and nothing else: only its word counts for the TPM that it keeps."""


@unique
class ReferenceSetState(StrEnum):
    """staged -> active -> draining -> revoked.

    Values count while their set is active or draining.
    """

    staged = "staged"
    active = "active"
    draining = "draining"
    revoked = "revoked"


@unique
class ReferenceValueState(StrEnum):
    """A withdrawn value stays as a record of what once passed; it matches nothing.

    Withdrawn is a (kind, key), not a row: the state is the same in every set that names the value.
    """

    active = "active"
    withdrawn = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSet:
    """A named set; `digest` is the lower hex SHA-256 of the document it was imported from."""

    name: str
    digest: str
    state: ReferenceSetState
    not_after: datetime | None
    imported_by: str
    imported: datetime
    entry_id: str  # the audit entry of the last change of state (F13)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValue:
    """One value: a digest that may be matched, or a floor.

    `key` is a lower hex digest or the floor's name.
    """

    set_name: str
    kind: str
    key: str
    value: JsonText
    state: ReferenceValueState = ReferenceValueState.active
    withdrawn: datetime | None = None
    withdraw_reason: str = ""
