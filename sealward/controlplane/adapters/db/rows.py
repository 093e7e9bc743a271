"""Frozen records in and out of a table whose column keys are the record's field names.

The statements of single rows are prepared once for each table; nothing here knows a dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    insert,
    select,
    tuple_,
)
from sqlalchemy import update as update_of
from sqlalchemy.exc import IntegrityError

from sealward.controlplane.adapters.db.engine import is_unique_violation, translate
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.domain.errors import Code, Conflict, NotFound, Refused
from sealward.controlplane.domain.records import MAX_PAGE, Page
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

_MAX_CURSOR_BYTES: Final = 4096  # two names of any length we store
_COLUMN_BOUND: Final = 1 << 63  # integer columns hold 64 bits, signed


@dataclass(frozen=True, slots=True)
class Scope:
    """The connection of the unit of work and the tenant that it works for."""

    connection: Connection
    tenant: str


@dataclass(frozen=True, slots=True)
class Composite:
    """A field that lies in several columns, with the two ways between them."""

    field: str
    columns: tuple[str, ...]
    split: Callable[[Any], tuple[Any, ...]]
    join: Callable[..., object]


class Rows(Generic[R]):
    """The rows of one table as records of one type.

    Args:
        table: has a `tenant` column, and a column for each of the record's `own` fields.
        record: a frozen dataclass.
        key: the fields that, with the tenant, name one row.
        noun: what a row is called in errors.
        missing: the code when there is no such row.
        frozen: fields that `save` leaves alone.
        elsewhere: fields of the record that other tables hold; they keep their default here.
        composite: a field whose value lies in several columns.
    """

    def __init__(
        self,
        table: Table,
        record: type[R],
        key: tuple[str, ...],
        noun: str,
        *,
        missing: Code = Code.not_found,
        frozen: tuple[str, ...] = (),
        elsewhere: tuple[str, ...] = (),
        composite: Composite | None = None,
    ) -> None:
        self.table = table
        self.record = record
        self.key = key
        self.noun = noun
        self._missing = missing
        own = [f.name for f in fields(record) if f.name not in elsewhere]
        self._names = tuple(own if composite is None else [n for n in own if n != composite.field])
        self._values = attrgetter(*self._names)
        self._composite = composite
        stored = (*self._names, *(composite.columns if composite else ()))
        self.changing = tuple(n for n in stored if n not in key and n not in frozen)
        self.columns = tuple(table.c[name] for name in stored)
        self._first_pages: dict[tuple[tuple[str, ...], tuple[str, ...]], Prepared] = {}
        self._insert = Prepared(insert(table), columns=("tenant", *stored))
        self._find = Prepared(select(*self.columns).where(*self._this_row()))
        update = update_of(table).where(*self._this_row())
        self._save = Prepared(update, columns=self.changing)
        self._remove = Prepared(delete(table).where(*self._this_row()))

    def of(self, row: Sequence[Any]) -> R:
        """Return the record of a row of `columns`."""
        values = dict(zip(self._names, row, strict=False))  # the composite's columns come last
        if self._composite is not None:
            values[self._composite.field] = self._composite.join(*row[len(self._names) :])
        return self.record(**values)

    def values(self, scope: Scope, record: R) -> dict[str, Any]:
        """Return the column values of a record."""
        values = dict(zip(self._names, self._values(record), strict=True))
        if (whole := self._composite) is not None:
            parts = whole.split(getattr(record, whole.field))
            values.update(zip(whole.columns, parts, strict=True))
        values["tenant"] = scope.tenant
        return values

    def find(self, scope: Scope, *key: str | int) -> R | None:
        """Return the record or None."""
        rows = self._find.rows(scope.connection, self._named(scope, key))
        return self.of(rows[0]) if rows else None

    def get(self, scope: Scope, *key: str | int) -> R:
        """Return the record; NotFound."""
        found = self.find(scope, *key)
        if found is None:
            raise self.missing(*key)
        return found

    def add(self, scope: Scope, record: R) -> None:
        """Insert; Conflict(already_exists)."""
        self.add_all(scope, (record,))

    def add_all(self, scope: Scope, records: Iterable[R]) -> None:
        """Insert many; Conflict(already_exists)."""
        try:
            for record in records:
                self._insert.count(scope.connection, self.values(scope, record))
        except IntegrityError as error:
            if not is_unique_violation(error):
                raise translate(error) from None
            raise Conflict(
                Code.already_exists, f"there is a {self.noun} of this name or id already"
            ) from None

    def save(self, scope: Scope, record: R) -> None:
        """Overwrite; NotFound."""
        if not self.replace(scope, record):
            raise self.missing(*(getattr(record, name) for name in self.key))

    def replace(self, scope: Scope, record: R) -> bool:
        """Overwrite and tell whether there was such a row."""
        values = self.values(scope, record)
        key = self._named(scope, [values[name] for name in self.key])
        return self._save.count(scope.connection, values | key) == 1

    def put(self, scope: Scope, record: R) -> None:
        """Insert or overwrite."""
        if not self.replace(scope, record):
            self.add(scope, record)

    def remove(self, scope: Scope, *key: str | int) -> R:
        """Delete the record and return it; NotFound."""
        found = self.get(scope, *key)
        self._remove.count(scope.connection, self._named(scope, key))
        return found

    def fixed(self, *where: ColumnElement[bool]) -> Select[Any]:
        """Return a query for the rows of the tenant in `k_tenant`, to be prepared once and kept."""
        return select(*self.columns).where(self.table.c.tenant == bindparam("k_tenant"), *where)

    def fetch(self, scope: Scope, query: Prepared, **values: object) -> tuple[R, ...]:
        """Return the records of a prepared query made by `fixed`, given its other values."""
        rows = query.rows(scope.connection, {"k_tenant": scope.tenant, **values})
        return tuple(map(self.of, rows))

    def select(self, scope: Scope, *where: ColumnElement[bool]) -> Select[Any]:
        """Return a query for the tenant's rows."""
        return select(*self.columns).where(self.table.c.tenant == scope.tenant, *where)

    def all(self, scope: Scope, query: Select[Any]) -> tuple[R, ...]:
        """Return the records of a query made by `select`."""
        return tuple(self.of(row) for row in scope.connection.execute(query))

    def page(
        self,
        scope: Scope,
        *,
        limit: int,
        after: str | None,
        where: Mapping[str, Any] | None = None,
        order: tuple[str, ...] | None = None,
        only: ColumnElement[bool] | None = None,
    ) -> Page[R]:
        """Return one page by key (or by the fields of `order`); None in `where` means any."""
        order = order or self.key
        given = {name: value for name, value in (where or {}).items() if value is not None}
        if after is None and only is None:
            _require_limit(limit)
            query = self._first_page(tuple(given), order)
            values = {f"k_{name}": value for name, value in given.items()}
            found = self.fetch(scope, query, k_limit=limit + 1, **values)
        else:
            wanted = [self.table.c[name] == value for name, value in given.items()]
            if only is not None:
                wanted.append(only)
            columns = [self.table.c[name] for name in order]
            found = self.all(scope, paged(self.select(scope, *wanted), columns, limit, after))
        return Page(
            items=found[:limit],
            after=cursor([getattr(found[limit - 1], name) for name in order])
            if len(found) > limit
            else None,
        )

    def _first_page(self, given: tuple[str, ...], order: tuple[str, ...]) -> Prepared:
        """Return the query for a first page: built once for each of the few shapes we ask for."""
        query = self._first_pages.get((given, order))
        if query is None:
            where = (self.table.c[name] == bindparam(f"k_{name}") for name in given)
            columns = (self.table.c[name] for name in order)
            query = Prepared(self.fixed(*where).order_by(*columns).limit(bindparam("k_limit")))
            self._first_pages[given, order] = query
        return query

    def missing(self, *key: object) -> NotFound:
        """Return the error for a row that is not there."""
        return NotFound(self._missing, f"there is no {self.noun} {'/'.join(map(str, key))}")

    def _this_row(self) -> list[ColumnElement[bool]]:
        return [self.table.c[name] == bindparam(f"k_{name}") for name in ("tenant", *self.key)]

    def _named(self, scope: Scope, key: Iterable[str | int]) -> dict[str, str | int]:
        named = {f"k_{name}": value for name, value in zip(self.key, key, strict=True)}
        return {"k_tenant": scope.tenant, **named}


def paged(query: Select[Any], order: list[Any], limit: int, after: str | None) -> Select[Any]:
    """Return the query for one page and one row more, which tells whether there is a next page.

    Raises:
        Refused(invalid_request): `limit` outside 1..MAX_PAGE, or a cursor that is not ours.
    """
    _require_limit(limit)
    if after is not None:
        bound = _position(after, [column.type.python_type for column in order])
        query = query.where(
            order[0] > bound[0] if len(order) == 1 else tuple_(*order) > tuple_(*bound)
        )
    return query.order_by(*order).limit(limit + 1)


def _require_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise Refused(Code.invalid_request, f"a page has 1 to {MAX_PAGE} items")


def cursor(position: list[str | int]) -> str:
    """Return the cursor behind the row with these key values."""
    return json.canonical(position).decode("utf-8")


def _position(after: str, kinds: list[type]) -> list[str | int]:
    foreign = Refused(Code.invalid_request, "not a cursor of this list", "list from the beginning")
    try:
        position = json.decode(after, what="cursor", max_bytes=_MAX_CURSOR_BYTES, max_depth=1)
    except MalformedEvidence:
        raise foreign from None
    if not isinstance(position, list) or len(position) != len(kinds):
        raise foreign
    result: list[str | int] = []
    for value, kind in zip(position, kinds, strict=True):
        if isinstance(value, bool) or not isinstance(value, str | int) or type(value) is not kind:
            raise foreign
        if isinstance(value, int) and not -_COLUMN_BOUND <= value < _COLUMN_BOUND:
            raise foreign
        result.append(value)
    return result
