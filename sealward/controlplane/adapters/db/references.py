"""Reference sets and values."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, or_, tuple_

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.reference_values import (
    ReferenceSet,
    ReferenceSetState,
    ReferenceValue,
    ReferenceValueState,
)

_SETS: Final = Rows(tables.reference_sets, ReferenceSet, ("name",), "reference set")
_VALUES: Final = Rows(
    tables.reference_values, ReferenceValue, ("set_name", "kind", "key"), "reference value"
)
_S: Final = tables.reference_sets.c
_V: Final = tables.reference_values.c

_SETS_IN_FORCE: Final = (ReferenceSetState.active, ReferenceSetState.draining)


class ReferenceRepository:
    """services.repositories.References over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def add_set(self, reference_set: ReferenceSet, values: Iterable[ReferenceValue]) -> None:
        """Insert a set with its values; Conflict(already_exists)."""
        _SETS.add(self._scope, reference_set)
        _VALUES.add_all(self._scope, values)

    def get_set(self, name: str) -> ReferenceSet:
        """Return the set; NotFound."""
        return _SETS.get(self._scope, name)

    def find_set(self, name: str) -> ReferenceSet | None:
        """Return the set or None."""
        return _SETS.find(self._scope, name)

    def save_set(self, reference_set: ReferenceSet) -> None:
        """Overwrite the set, not its values; NotFound."""
        _SETS.save(self._scope, reference_set)

    def sets(
        self, *, limit: int, after: str | None = None, state: ReferenceSetState | None = None
    ) -> Page[ReferenceSet]:
        """List sets by name."""
        return _SETS.page(self._scope, limit=limit, after=after, where={"state": state})

    def values(
        self, set_name: str, *, limit: int, after: str | None = None
    ) -> Page[ReferenceValue]:
        """List the values of a set by kind and key."""
        return _VALUES.page(
            self._scope,
            limit=limit,
            after=after,
            where={"set_name": set_name},
            order=("kind", "key"),
        )

    def get_value(self, set_name: str, kind: str, key: str) -> ReferenceValue:
        """Return one value, withdrawn or not; NotFound."""
        return _VALUES.get(self._scope, set_name, kind, key)

    def save_value(self, value: ReferenceValue) -> None:
        """Overwrite one value; NotFound."""
        _VALUES.save(self._scope, value)

    def matching(
        self, wanted: Iterable[tuple[str, str]], now: datetime
    ) -> tuple[ReferenceValue, ...]:
        """Return the values in force for any of the wanted (kind, key) pairs."""
        pairs = list(wanted)
        if not pairs:
            return ()
        return _VALUES.all(self._scope, self._in_force(now, tuple_(_V.kind, _V.key).in_(pairs)))

    def of_kind(self, kind: str, now: datetime, *, limit: int) -> tuple[ReferenceValue, ...]:
        """Return the values in force of one kind; Refused(reference_invalid) when over `limit`."""
        query = self._in_force(now, _V.kind == kind).limit(limit + 1)
        found = _VALUES.all(self._scope, query)
        if len(found) > limit:
            raise Refused(
                Code.reference_invalid,
                f"more than {limit} reference values of kind {kind} are in force",
                "revoke the sets that are no longer needed",
            )
        return found

    def _in_force(self, now: datetime, which: ColumnElement[bool]) -> Select[Any]:
        return (
            _VALUES.select(self._scope, which, _V.state == ReferenceValueState.active)
            .join(
                tables.reference_sets,
                and_(_S.tenant == _V.tenant, _S.name == _V.set_name),
            )
            .where(_S.state.in_(_SETS_IN_FORCE), or_(_S.not_after.is_(None), _S.not_after > now))
            .order_by(_V.kind, _V.key, _V.set_name)
        )
