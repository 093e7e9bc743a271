"""Policy revisions and activations."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.activations import (
    ActivationState,
    PolicyActivation,
    PolicyRevision,
)
from sealward.controlplane.domain.errors import Code, Conflict
from sealward.controlplane.domain.records import Page

_REVISIONS: Final = Rows(tables.policy_revisions, PolicyRevision, ("digest",), "policy revision")
_ACTIVATIONS: Final = Rows(
    tables.policy_activations, PolicyActivation, ("activation_id",), "policy activation"
)
_A: Final = tables.policy_activations.c


class PolicyRepository:
    """services.repositories.Policies over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def add_revision(self, revision: PolicyRevision) -> None:
        """Insert; Conflict(already_exists)."""
        _REVISIONS.add(self._scope, revision)

    def get_revision(self, digest: str) -> PolicyRevision:
        """Return the revision; NotFound."""
        return _REVISIONS.get(self._scope, digest)

    def find_revision(self, digest: str) -> PolicyRevision | None:
        """Return the revision or None."""
        return _REVISIONS.find(self._scope, digest)

    def revisions(self, *, limit: int, after: str | None = None) -> Page[PolicyRevision]:
        """List revisions by digest."""
        return _REVISIONS.page(self._scope, limit=limit, after=after)

    def activate(self, activation: PolicyActivation) -> None:
        """End the activation that `replaces` names and insert this one.

        Raises:
            Conflict(activation_replaced): `replaces` is not what is active in this slot.
        """
        current = _ACTIVATIONS.all(
            self._scope,
            _ACTIVATIONS.select(
                self._scope,
                _A.kind == activation.kind,
                _A.layer == activation.layer,
                _A.scope == activation.scope,
                _A.mode == activation.mode,
                _A.state == ActivationState.active,
            ),
        )
        active = current[0].activation_id if current else None
        if active != activation.replaces:
            raise Conflict(
                Code.activation_replaced,
                "another activation is active here than the one to be replaced",
                "look at what is active now and activate again",
            )
        if active is not None:
            self.end(active, activation.created)
        _ACTIVATIONS.add(self._scope, activation)

    def end(self, activation_id: str, now: datetime) -> None:
        """End an activation; Conflict(state_changed) when it is not active."""
        current = _ACTIVATIONS.get(self._scope, activation_id)
        if current.state is not ActivationState.active:
            raise Conflict(Code.state_changed, "the activation has ended already")
        _ACTIVATIONS.save(self._scope, replace(current, state=ActivationState.ended, ended=now))

    def active(self, kind: str | None = None) -> tuple[PolicyActivation, ...]:
        """Return every active activation, ordered by kind, layer, scope and mode."""
        query = _ACTIVATIONS.select(self._scope, _A.state == ActivationState.active)
        if kind is not None:
            query = query.where(_A.kind == kind)
        return _ACTIVATIONS.all(self._scope, query.order_by(_A.kind, _A.layer, _A.scope, _A.mode))

    def activations(self, *, limit: int, after: str | None = None) -> Page[PolicyActivation]:
        """List activations by activation_id, ended ones included."""
        return _ACTIVATIONS.page(self._scope, limit=limit, after=after)
