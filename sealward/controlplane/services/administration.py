"""What every administrative use case stands on, and how each one leaves its trace.

A use case checks the principal's right first, then its input, then runs one unit of work that
changes state and appends the audit entry of the change; the two commit together or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from sealward.controlplane.domain import audit
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.services.ports import Clock, Database, Keystore, Transaction
from sealward.controlplane.services.revocation import fence
from sealward.verifier.wire import json

Body: TypeAlias = dict[str, json.Canonical]
"""What an audit entry says of a change, besides who asked for it."""


class Wake(Protocol):
    """Tells the process's own workers that there is something to do; losing a call loses nothing.

    Workers poll as well, so this only makes them quick.
    """

    def sweeps(self) -> None:
        """Say that a sweep was left behind by a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """Everything a use case may reach."""

    database: Database
    keystore: Keystore
    clock: Clock
    random_bytes: RandomBytes
    wake: Wake

    @property
    def tenant(self) -> str:
        """The tenant that the database's units of work are scoped to."""
        return self.database.read(lambda tx: tx.tenant)

    def record(
        self,
        tx: Transaction,
        kind: AuditKind,
        body: Mapping[str, json.Canonical],
        *,
        by: Principal,
        now: datetime,
    ) -> str:
        """Append the audit entry of a change and return its id; `by` is who asked for it."""
        entry = audit.entry(
            kind,
            {"by": {"id": by.principal_id, "name": by.name}, **body},
            now=now,
            random_bytes=self.random_bytes,
            tenant=tx.tenant,
        )
        tx.audit.append(entry)
        return entry.entry_id

    def fence(self, tx: Transaction, scope: str, cause: Mapping[str, str], now: datetime) -> None:
        """Bump the scope's epoch and leave a sweep; call `wake.sweeps()` after the commit."""
        fence(tx, scope=scope, cause=cause, now=now, random_bytes=self.random_bytes)
