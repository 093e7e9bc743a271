"""Reference sets and values."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, bindparam, or_

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


def _in_force(which: ColumnElement[bool]) -> Select[Any]:
    """Return the query for values in force at `k_now`."""
    return (
        _VALUES.fixed(which, _V.state == ReferenceValueState.active)
        .join(tables.reference_sets, and_(_S.tenant == _V.tenant, _S.name == _V.set_name))
        .where(
            _S.state.in_(_SETS_IN_FORCE),
            or_(_S.not_after.is_(None), _S.not_after > bindparam("k_now")),
        )
        .order_by(_V.kind, _V.key, _V.set_name)
    )


# One claim set matches a measurement and a TCB floor; a composite a few more. The statement has a
# fixed number of places, so that it is built once; places that are not needed repeat a pair.
_PLACES: Final = 4
_MATCHING: Final = _in_force(
    or_(
        *(
            and_(_V.kind == bindparam(f"k_kind_{place}"), _V.key == bindparam(f"k_key_{place}"))
            for place in range(_PLACES)
        )
    )
)
_OF_KIND: Final = _in_force(_V.kind == bindparam("k_kind")).limit(bindparam("k_limit"))


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
        pairs = tuple(dict.fromkeys(wanted))
        found: list[ReferenceValue] = []
        for start in range(0, len(pairs), _PLACES):
            some = pairs[start : start + _PLACES]
            places: dict[str, object] = {"k_now": now}
            for place in range(_PLACES):
                kind, key = some[min(place, len(some) - 1)]
                places |= {f"k_kind_{place}": kind, f"k_key_{place}": key}
            found += _VALUES.fetch(self._scope, _MATCHING, **places)
        return tuple(sorted(found, key=lambda v: (v.kind, v.key, v.set_name)))

    def of_kind(self, kind: str, now: datetime, *, limit: int) -> tuple[ReferenceValue, ...]:
        """Return the values in force of one kind; Refused(reference_invalid) when over `limit`."""
        found = _VALUES.fetch(self._scope, _OF_KIND, k_kind=kind, k_now=now, k_limit=limit + 1)
        if len(found) > limit:
            raise Refused(
                Code.reference_invalid,
                f"more than {limit} reference values of kind {kind} are in force",
                "revoke the sets that are no longer needed",
            )
        return found
