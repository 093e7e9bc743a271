"""Refused attempts: a bounded number of rows, whatever is tried."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, select

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.attempts import KEPT_OF_A_NODE, KEPT_OF_STRANGERS, Attempt

_ATTEMPTS: Final = Rows(tables.attempts, Attempt, ("attempt_id",), "attempt")
_A: Final = tables.attempts.c


class AttemptRepository:
    """services.repositories.Attempts over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def add(self, attempt: Attempt) -> None:
        """Insert, and forget the oldest above what is kept of a node and of strangers."""
        _ATTEMPTS.add(self._scope, attempt)
        self._keep(KEPT_OF_A_NODE, _A.node_id == attempt.node_id)
        if not attempt.enrolled:
            self._keep(KEPT_OF_STRANGERS, _A.enrolled.is_(False))

    def latest(self, node_id: str, *, limit: int) -> tuple[Attempt, ...]:
        """Return the newest attempts under a node's key, newest first."""
        query = _ATTEMPTS.select(self._scope, _A.node_id == node_id)
        return _ATTEMPTS.all(self._scope, query.order_by(_A.attempt_id.desc()).limit(limit))

    def correlated(self, correlation_id: str) -> Attempt | None:
        """Return the newest attempt that was answered with this correlation id, or None."""
        query = _ATTEMPTS.select(self._scope, _A.correlation_id == correlation_id)
        found = _ATTEMPTS.all(self._scope, query.order_by(_A.attempt_id.desc()).limit(1))
        return found[0] if found else None

    def purge(self, before: datetime, *, limit: int) -> int:
        """Forget up to `limit` attempts from before an instant; return how many."""
        oldest = (
            select(_A.attempt_id)
            .where(_A.tenant == self._scope.tenant)
            .order_by(_A.attempt_id)
            .limit(limit)
        )
        done = self._scope.connection.execute(
            delete(tables.attempts).where(
                _A.tenant == self._scope.tenant, _A.attempt_id.in_(oldest), _A.at < before
            )
        )
        return done.rowcount

    def _keep(self, most: int, of: ColumnElement[bool]) -> None:
        """Delete all but the newest `most` rows of a kind."""
        ours = (_A.tenant == self._scope.tenant, of)
        newest_to_go = (
            select(_A.attempt_id).where(*ours).order_by(_A.attempt_id.desc()).offset(most).limit(1)
        )
        last = self._scope.connection.execute(newest_to_go).scalar_one_or_none()
        if last is not None:
            self._scope.connection.execute(
                delete(tables.attempts).where(*ours, _A.attempt_id <= last)
            )
