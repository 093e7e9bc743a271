"""Decisions and sweeps."""

from __future__ import annotations

from typing import Final

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.decisions import Decision
from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.sweeps import Sweep, SweepState

_DECISIONS: Final = Rows(tables.decisions, Decision, ("decision_id",), "decision")
_SWEEPS: Final = Rows(tables.sweeps, Sweep, ("sweep_id",), "sweep")
_D: Final = tables.decisions.c
_S: Final = tables.sweeps.c


class DecisionRepository:
    """services.repositories.Decisions over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def add(self, decision: Decision) -> None:
        """Insert; Conflict(already_exists)."""
        _DECISIONS.add(self._scope, decision)

    def get(self, decision_id: str) -> Decision:
        """Return the decision; NotFound."""
        return _DECISIONS.get(self._scope, decision_id)

    def page(
        self, *, limit: int, after: str | None = None, node_id: str | None = None
    ) -> Page[Decision]:
        """List decisions by decision_id (oldest first), optionally of one node."""
        return _DECISIONS.page(self._scope, limit=limit, after=after, where={"node_id": node_id})

    def latest(self, node_id: str, *, limit: int) -> tuple[Decision, ...]:
        """Return a node's newest decisions, newest first."""
        query = _DECISIONS.select(self._scope, _D.node_id == node_id)
        return _DECISIONS.all(self._scope, query.order_by(_D.decision_id.desc()).limit(limit))

    def before(self, decision: Decision, *, limit: int) -> tuple[Decision, ...]:
        """Return a node's newest decisions before this one, newest first."""
        query = _DECISIONS.select(
            self._scope,
            _D.node_id == decision.node_id,
            _D.decision_id < decision.decision_id,
        )
        return _DECISIONS.all(self._scope, query.order_by(_D.decision_id.desc()).limit(limit))

    def correlated(self, correlation_id: str) -> Decision | None:
        """Return the newest decision that was answered with this correlation id, or None."""
        query = _DECISIONS.select(self._scope, _D.correlation_id == correlation_id)
        found = _DECISIONS.all(self._scope, query.order_by(_D.decision_id.desc()).limit(1))
        return found[0] if found else None


class SweepRepository:
    """services.repositories.Sweeps over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def add(self, sweep: Sweep) -> None:
        """Insert; Conflict(already_exists)."""
        _SWEEPS.add(self._scope, sweep)

    def save(self, sweep: Sweep) -> None:
        """Overwrite; NotFound."""
        _SWEEPS.save(self._scope, sweep)

    def get(self, sweep_id: str) -> Sweep:
        """Return the sweep; NotFound."""
        return _SWEEPS.get(self._scope, sweep_id)

    def running(self) -> tuple[Sweep, ...]:
        """Return the sweeps that are not done, oldest first."""
        query = _SWEEPS.select(self._scope, _S.state == SweepState.running)
        return _SWEEPS.all(self._scope, query.order_by(_S.sweep_id))

    def page(self, *, limit: int, after: str | None = None) -> Page[Sweep]:
        """List sweeps by sweep_id."""
        return _SWEEPS.page(self._scope, limit=limit, after=after)
