"""Audit entries and checkpoints: the log is one for the installation, lists are a tenant's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Select, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.engine import is_unique_violation, translate
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.audit import AuditEntry, StoredCheckpoint
from sealward.controlplane.domain.errors import Code, Conflict
from sealward.controlplane.domain.records import Page

_A: Final = tables.audit_entries.c
_C: Final = tables.audit_checkpoints.c
# `tenant` is a field of the record here, so that the log can be read across tenants.
_ENTRIES: Final = Rows(tables.audit_entries, AuditEntry, ("entry_id",), "audit entry")
_CHECKPOINT: Final = (_C.size, _C.root, _C.note, _C.created)
_UNSEQUENCED: Final = (
    select(_A.entry_id, _A.leaf_hash).where(_A.log_index.is_(None)).order_by(_A.arrival)
)
_PLACE: Final = (
    update(tables.audit_entries)
    .where(_A.entry_id == bindparam("k_entry_id"), _A.log_index.is_(None))
    .values(log_index=bindparam("k_log_index"))
)
_LEAF_HASHES: Final = select(_A.leaf_hash)
_ALL_ENTRIES: Final = select(*_ENTRIES.columns)
_ALL_CHECKPOINTS: Final = select(*_CHECKPOINT)


class AuditRepository:
    """services.repositories.Audit over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def append(self, entry: AuditEntry) -> None:
        """Insert an unsequenced entry; ValueError when it is another tenant's or already placed."""
        if entry.tenant != self._scope.tenant or entry.log_index is not None:
            raise ValueError("an entry of another tenant, or one that has its place already")
        _ENTRIES.add(self._scope, entry)

    def get(self, entry_id: str) -> AuditEntry:
        """Return the entry; NotFound."""
        return _ENTRIES.get(self._scope, entry_id)

    def page(self, *, limit: int, after: str | None = None) -> Page[AuditEntry]:
        """List the tenant's entries by entry_id, sequenced or not."""
        return _ENTRIES.page(self._scope, limit=limit, after=after)

    def unsequenced(self, *, limit: int) -> tuple[tuple[str, bytes], ...]:
        """Return (entry_id, leaf_hash) of entries without an index, in order of arrival."""
        rows = self._scope.connection.execute(_UNSEQUENCED.limit(limit))
        return tuple((entry_id, leaf) for entry_id, leaf in rows)

    def place(self, first_index: int, entry_ids: Iterable[str]) -> None:
        """Give consecutive indices.

        Raises:
            Conflict(state_changed): an entry is placed already, or an index is taken.
        """
        rows = [
            {"k_entry_id": entry_id, "k_log_index": index}
            for index, entry_id in enumerate(entry_ids, first_index)
        ]
        if not rows:
            return
        taken = Conflict(Code.state_changed, "another sequencer placed entries")
        try:
            placed = self._scope.connection.execute(_PLACE, rows).rowcount
        except IntegrityError as error:
            raise (taken if is_unique_violation(error) else translate(error)) from None
        if placed != len(rows):
            raise taken

    def leaf_hashes(self, start: int, *, limit: int) -> tuple[bytes, ...]:
        """Return the leaf hashes of the whole log from index `start` on, in order."""
        return tuple(self._scope.connection.execute(_from(_LEAF_HASHES, start, limit)).scalars())

    def entries(self, start: int, *, limit: int) -> tuple[AuditEntry, ...]:
        """Return the entries of the whole log from index `start` on, in order."""
        return _ENTRIES.all(self._scope, _from(_ALL_ENTRIES, start, limit))

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Insert; Conflict(already_exists) when there is one of that size."""
        row = {
            "size": checkpoint.size,
            "root": checkpoint.root,
            "note": checkpoint.note,
            "created": checkpoint.created,
        }
        try:
            self._scope.connection.execute(insert(tables.audit_checkpoints), row)
        except IntegrityError as error:
            raise translate(error) from None

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        """Return the largest checkpoint or None."""
        query = _ALL_CHECKPOINTS.order_by(_C.size.desc()).limit(1)
        row = self._scope.connection.execute(query).first()
        return None if row is None else StoredCheckpoint(*row)

    def checkpoints(self, above: int, *, limit: int) -> tuple[StoredCheckpoint, ...]:
        """Return checkpoints of more than `above` leaves, smallest first."""
        query = _ALL_CHECKPOINTS.where(_C.size > above).order_by(_C.size).limit(limit)
        return tuple(StoredCheckpoint(*row) for row in self._scope.connection.execute(query))


def _from(query: Select[Any], start: int, limit: int) -> Select[Any]:
    return query.where(_A.log_index >= start).order_by(_A.log_index).limit(limit)
