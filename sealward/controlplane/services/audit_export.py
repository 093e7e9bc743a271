"""Exporting the audit log: docs/specs/audit-log.md section 4."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sealward.controlplane.domain.audit import AuditEntry, StoredCheckpoint
from sealward.controlplane.domain.audit_export import checkpoint_line, entry_line, header_line
from sealward.controlplane.domain.errors import Code, Unavailable
from sealward.controlplane.services.ports import Database

_BATCH: Final = 500  # entries held in memory at once


def export_log(database: Database, origin: str) -> Iterator[bytes]:
    """Yield the lines of an export up to the newest checkpoint, each with its newline.

    The log is the whole installation's: entries of other tenants show their commitments only.
    Each batch is a unit of its own: the log only grows, so what was read before stays true.
    """
    yield header_line(origin)
    tenant = database.read(lambda tx: tx.tenant)
    size = 0
    while checkpoints := _checkpoints(database, size):
        for checkpoint in checkpoints:
            while size < checkpoint.size:
                for entry in _entries(database, size, min(_BATCH, checkpoint.size - size)):
                    yield entry_line(entry, opened=entry.tenant == tenant)
                    size += 1
            yield checkpoint_line(checkpoint.note)


def _checkpoints(database: Database, above: int) -> tuple[StoredCheckpoint, ...]:
    return database.read(lambda tx: tx.audit.checkpoints(above, limit=_BATCH))


def _entries(database: Database, start: int, count: int) -> tuple[AuditEntry, ...]:
    entries = database.read(lambda tx: tx.audit.entries(start, limit=count))
    if not entries:
        raise Unavailable(
            Code.log_unavailable,
            f"entry {start} of the audit log is missing though a checkpoint covers it",
            "the database was changed or restored: compare it with a backup",
        )
    return entries
