"""Statements of SQLAlchemy Core, compiled once and then run straight by the driver.

An attestation runs some twenty statements that never change. SQLAlchemy finds the compiled form of
each again every time, builds a context and a result around it, and so takes several times as long
as the database does (docs/benchmarks.md). Here a statement is compiled at its first use; after that
its values go through the columns' types and to the driver. Text and types come from Core, so this
knows no dialect either. Use it for fixed statements on the path of decisions, Core for all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import TypeEngine

Row: TypeAlias = tuple[Any, ...]
_Convert: TypeAlias = "Callable[[Any], Any] | None"
_Conversions: TypeAlias = "tuple[tuple[int, Callable[[Any], Any]], ...]"


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement for one dialect.

    Attributes:
        text: what the driver takes.
        given: takes the values from a mapping, in the order of the placeholders.
        constants: values that the statement brings along, by name.
        binds: (position, conversion) of each value that needs one.
        results: (position, conversion) of each column that needs one.
    """

    text: str
    given: Callable[[Mapping[str, Any]], Row]
    constants: Mapping[str, Any]
    binds: _Conversions
    results: _Conversions


class Prepared:
    """One fixed statement.

    Args:
        statement: a select, insert or update without anything that expands (`IN` over a list).
        columns: for insert and update, which columns are given values at each run.
    """

    def __init__(self, statement: Executable, columns: Iterable[str] | None = None) -> None:
        self._statement: Final = statement
        self._columns: Final = None if columns is None else list(columns)
        self._compiled: _Compiled | None = None

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[Row]:
        """Run and return all rows.

        Raises:
            DBAPIError: as Core raises it.
            KeyError: a value is missing.
        """
        compiled = self._compiled or self._for(connection.dialect)
        rows: list[Row] = self._run(connection, compiled, values).fetchall()
        if not compiled.results:
            return rows
        return [_converted(row, compiled.results) for row in rows]

    def count(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run and return how many rows were changed; errors as of `rows`."""
        compiled = self._compiled or self._for(connection.dialect)
        count: int = self._run(connection, compiled, values).rowcount
        return count

    def _run(self, connection: Connection, compiled: _Compiled, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a driver's cursor
        if compiled.constants:
            values = {**compiled.constants, **values}
        given = compiled.given(values)
        if compiled.binds:
            given = _converted(given, compiled.binds)
        cursor = connection.connection.cursor()
        driver = connection.dialect.loaded_dbapi
        try:
            cursor.execute(compiled.text, given)
        except driver.Error as error:
            # The traceback keeps this frame alive until garbage collection, in any thread. A cursor
            # that still had its statement then would wait there for this connection's mutex, and
            # two connections that do so to each other stand still.
            cursor.close()
            raise DBAPIError.instance(None, None, error, driver.Error) from error
        return cursor

    def _for(self, dialect: Dialect) -> _Compiled:
        """Compile, unless it is done; when two threads do it at once, the same thing comes out."""
        if self._compiled is None:
            self._compiled = _compile(self._statement, self._columns, dialect)
        return self._compiled


def _compile(statement: Executable, columns: list[str] | None, dialect: Dialect) -> _Compiled:
    if not isinstance(statement, ClauseElement):
        raise TypeError("only statements of SQLAlchemy Core can be prepared")
    compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
    if not compiled.positional:
        raise TypeError(f"the driver of {dialect.name} does not take positional values")
    names = tuple(compiled.positiontup)
    binds = tuple(
        (at, convert)
        for at, name in enumerate(names)
        if (convert := _to_driver(compiled.binds[name].type, dialect)) is not None
    )
    constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
    returned = getattr(statement, "exported_columns", ())
    results = tuple(
        (at, convert)
        for at, column in enumerate(returned)
        if (convert := _from_driver(column.type, dialect)) is not None
    )
    return _Compiled(str(compiled), _getter(names), constants, binds, results)


def _getter(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Row]:
    """Return what takes the values of these names from a mapping; KeyError."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


def _to_driver(kind: TypeEngine[Any], dialect: Dialect) -> _Convert:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _from_driver(kind: TypeEngine[Any], dialect: Dialect) -> _Convert:
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _converted(row: Row, conversions: _Conversions) -> Row:
    values = list(row)
    for at, convert in conversions:
        values[at] = convert(values[at])
    return tuple(values)
