"""Reference sets and values."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import BindParameter, and_, bindparam, exists, func, or_, select, update

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.reference_values import (
    ReferenceSet,
    ReferenceSetState,
    ReferenceValue,
    ReferenceValueState,
)
from sealward.verifier.wire import json

_SETS: Final = Rows(tables.reference_sets, ReferenceSet, ("name",), "reference set")
_VALUES: Final = Rows(
    tables.reference_values, ReferenceValue, ("set_name", "kind", "key"), "reference value"
)
_S: Final = tables.reference_sets.c
_V: Final = tables.reference_values.c

_SETS_IN_FORCE: Final = (ReferenceSetState.active, ReferenceSetState.draining)


# One claim set matches a measurement and a TCB floor; a composite a few more. The statement has a
# fixed number of places, so that it is built once; places that are not needed repeat a pair.
_PLACES: Final = 4
_ANY_PLACE: Final = or_(
    *(
        and_(_V.kind == bindparam(f"k_kind_{place}"), _V.key == bindparam(f"k_key_{place}"))
        for place in range(_PLACES)
    )
)
# Withdrawing marks every set's row, but an import that runs beside it cannot see that yet: asked
# again here, a withdrawn value is in force nowhere whichever of the two came first.
_OTHER: Final = tables.reference_values.alias("other")
_WITHDRAWN_ANYWHERE: Final = exists().where(
    _OTHER.c.tenant == _V.tenant,
    _OTHER.c.kind == _V.kind,
    _OTHER.c.key == _V.key,
    _OTHER.c.state == ReferenceValueState.withdrawn,
)
_OF_ITS_SET: Final = and_(_S.tenant == _V.tenant, _S.name == _V.set_name)
_SET_IN_FORCE: Final = (
    or_(*(_S.state == state for state in _SETS_IN_FORCE)),
    or_(_S.not_after.is_(None), _S.not_after > bindparam("k_now")),
)
_MATCHING: Final = Prepared(
    _VALUES.fixed(_ANY_PLACE, ~_WITHDRAWN_ANYWHERE)
    .join(tables.reference_sets, _OF_ITS_SET)
    .where(*_SET_IN_FORCE)
    .order_by(_V.kind, _V.key, _V.set_name)
)
_IN_FORCE: Final = Prepared(
    _VALUES.fixed(_V.kind == bindparam("k_kind"), ~_WITHDRAWN_ANYWHERE)
    .join(tables.reference_sets, _OF_ITS_SET)
    .where(*_SET_IN_FORCE)
    .order_by(_V.key, _V.set_name)
)
# Of thousands of keys, as a measurement list has them, in one statement: of a fixed size as well.
_MANY: Final = 256
_MANY_KEYS: Final[tuple[BindParameter[str], ...]] = tuple(
    bindparam(f"k_key_{place}") for place in range(_MANY)
)
# Asked once for all, since hundreds of sets may share a key, as boots share a firmware: row by row
# it would be looked for among them all.
_WITHDRAWN_OF_MANY: Final = select(_OTHER.c.key).where(
    _OTHER.c.tenant == bindparam("k_tenant"),
    _OTHER.c.kind == bindparam("k_kind"),
    _OTHER.c.key.in_(_MANY_KEYS),
    _OTHER.c.state == ReferenceValueState.withdrawn,
)
_STANDING: Final = Prepared(
    select(_V.key, _V.set_name)
    .join(tables.reference_sets, _OF_ITS_SET)
    .where(
        _V.tenant == bindparam("k_tenant"),
        _V.kind == bindparam("k_kind"),
        _V.key.in_(_MANY_KEYS),
        _V.key.not_in(_WITHDRAWN_OF_MANY),
        *_SET_IN_FORCE,
    )
)
_WITHDRAWN_IN_SET: Final = Prepared(
    _VALUES.fixed(_V.set_name == bindparam("k_set_name"), _WITHDRAWN_ANYWHERE)
    .order_by(_V.kind, _V.key)
    .limit(1)
)
_OF_KIND: Final = Prepared(
    _VALUES.fixed(_V.set_name == bindparam("k_set_name"), _V.kind == bindparam("k_kind")).order_by(
        _V.key
    )
)
_MARK: Final = Prepared(
    update(tables.reference_values).where(
        _V.tenant == bindparam("k_tenant"),
        _V.kind == bindparam("k_kind"),
        _V.key == bindparam("k_key"),
    ),
    columns=("state", "withdrawn", "withdraw_reason"),
)


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

    def of_kind(self, set_name: str, kind: str) -> tuple[ReferenceValue, ...]:
        """Return every value of one kind in a set, withdrawn or not, by key."""
        return _VALUES.fetch(self._scope, _OF_KIND, k_set_name=set_name, k_kind=kind)

    def withdraw_value(self, kind: str, key: str, now: datetime, reason: str) -> None:
        """Mark the value withdrawn in every set that names it."""
        self._mark(kind, key, ReferenceValueState.withdrawn, now, reason)

    def reinstate_value(self, kind: str, key: str) -> None:
        """Take the mark off again, in every set."""
        self._mark(kind, key, ReferenceValueState.active, None, "")

    def withdrawn_in(self, set_name: str) -> ReferenceValue | None:
        """Return the first value of a set that is withdrawn, in this set or in another."""
        found = _VALUES.fetch(self._scope, _WITHDRAWN_IN_SET, k_set_name=set_name)
        return found[0] if found else None

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

    def standing(
        self, kind: str, keys: Iterable[str], now: datetime
    ) -> tuple[tuple[str, str], ...]:
        """Return (key, set name) of the values in force for any of many keys of one kind."""
        wanted = tuple(dict.fromkeys(keys))
        values: dict[str, object] = {"k_tenant": self._scope.tenant, "k_kind": kind, "k_now": now}
        found: list[tuple[str, str]] = []
        for start in range(0, len(wanted), _MANY):
            some = wanted[start : start + _MANY]
            places = {f"k_key_{n}": some[min(n, len(some) - 1)] for n in range(_MANY)}
            rows = _STANDING.rows(self._scope.connection, values | places)
            found += [(key, set_name) for key, set_name in rows]
        return tuple(sorted(found))

    def in_force(self, kind: str, now: datetime) -> tuple[ReferenceValue, ...]:
        """Return every value in force of one kind, by key."""
        return _VALUES.fetch(self._scope, _IN_FORCE, k_kind=kind, k_now=now)

    def near(
        self,
        kind: str,
        *,
        prefix: str = "",
        length: int | None = None,
        name: str | None = None,
        limit: int,
    ) -> tuple[ReferenceValue, ...]:
        """Return values of a kind, in force or not, newest set first."""
        wanted = [_V.kind == kind, _V.key >= prefix]
        if prefix:
            wanted.append(_V.key < prefix[:-1] + chr(ord(prefix[-1]) + 1))
        if length is not None:
            wanted.append(func.length(_V.key) == length)
        if name is not None:  # the stored value is canonical: one spelling of one name
            spelled = json.canonical({"name": name}).decode().strip("{}")
            wanted.append(func.instr(_V.value, spelled) > 0)
        query = _VALUES.select(self._scope, *wanted).join(tables.reference_sets, _OF_ITS_SET)
        return _VALUES.all(
            self._scope, query.order_by(_S.imported.desc(), _V.set_name, _V.key).limit(limit)
        )

    def _mark(
        self,
        kind: str,
        key: str,
        state: ReferenceValueState,
        withdrawn: datetime | None,
        reason: str,
    ) -> None:
        where = {"k_tenant": self._scope.tenant, "k_kind": kind, "k_key": key}
        what = {"state": state, "withdrawn": withdrawn, "withdraw_reason": reason}
        _MARK.count(self._scope.connection, where | what)
