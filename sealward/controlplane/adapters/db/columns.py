"""How values of the domain lie in columns: instants as integers, closed sets and hashes as text."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from sqlalchemy import BigInteger, Column, Dialect, ForeignKeyConstraint, String, text
from sqlalchemy.types import TypeDecorator, TypeEngine

from sealward.controlplane.domain.records import Labels, from_unix_ms, unix_ms
from sealward.verifier.wire import json

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_MILLISECOND: Final = timedelta(milliseconds=1)
_MAX_LABELS_BYTES: Final = 64 * 1024  # far above what services accept; guards against a damaged row


class Coded(TypeDecorator[T]):
    """A column of `impl` that holds `encode(value)`, or NULL for None."""

    impl: Any = String  # replaced by each instance's own
    cache_ok = True

    def __init__(
        self, impl: TypeEngine[Any], encode: Callable[[T], Any], decode: Callable[[Any], T]
    ) -> None:
        super().__init__()
        self.impl = impl
        self.encode = encode
        self.decode = decode

    def process_bind_param(self, value: T | None, dialect: Dialect) -> object:
        """To the column."""
        del dialect
        return None if value is None else self.encode(value)

    def process_result_value(self, value: object, dialect: Dialect) -> T | None:
        """From the column."""
        del dialect
        return None if value is None else self.decode(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[T | None], Any] | None:
        """Return the whole way to the driver as one function, where `impl` adds nothing to it."""
        if self.impl_instance.bind_processor(dialect) is not None:
            return super().bind_processor(dialect)
        encode = self.encode
        return lambda value: None if value is None else encode(value)

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], T | None] | None:
        """Return the whole way from the driver as one function, where `impl` adds nothing to it."""
        if self.impl_instance.result_processor(dialect, coltype) is not None:
            return super().result_processor(dialect, coltype)
        decode = self.decode
        return lambda value: None if value is None else decode(value)


# Looked up, because an enumeration takes ten times as long to find a member by its value. What is
# not there is asked of the enumeration itself, which says what is wrong with it.


class _Texts(dict[StrEnum, str]):
    """Members to text."""

    def __init__(self, members: type[StrEnum]) -> None:
        super().__init__((member, member.value) for member in members)
        self._members = members

    def __missing__(self, member: StrEnum) -> str:
        return self._members(member).value


class _Members(dict[str, E]):
    """Text to members."""

    def __init__(self, members: type[E]) -> None:
        super().__init__((member.value, member) for member in members)
        self._members = members

    def __missing__(self, text: str) -> E:
        return self._members(text)


def closed(members: type[E]) -> Coded[E]:
    """Return the type of a column of a StrEnum's members; a row with other text is a ValueError."""
    return Coded(String(), _Texts(members).__getitem__, _Members(members).__getitem__)


def _label_text(labels: Labels) -> str:
    if not labels:  # nearly always
        return "{}"
    if len(dict(labels)) != len(labels):
        raise ValueError("a label name occurs twice")
    return json.canonical(dict(labels)).decode("utf-8")


def _labels(stored: str) -> Labels:
    if stored == "{}":  # nearly always
        return ()
    labels = json.decode(stored, what="labels", max_bytes=_MAX_LABELS_BYTES, max_depth=1)
    if not isinstance(labels, dict):
        raise TypeError("labels are a JSON object")
    return tuple(sorted((name, str(value)) for name, value in labels.items()))


def _milliseconds(duration: timedelta) -> int:
    return duration // _MILLISECOND


def _duration(milliseconds: int) -> timedelta:
    return milliseconds * _MILLISECOND


INSTANT: Final = Coded(BigInteger(), unix_ms, from_unix_ms)
DURATION: Final = Coded(BigInteger(), _milliseconds, _duration)
HEX: Final = Coded(String(), bytes.hex, bytes.fromhex)
LABELS: Final = Coded(String(), _label_text, _labels)


def column(name: str, kind: Any, *, null: bool = False) -> Column[Any]:  # noqa: ANN401 - SQLAlchemy's union
    """Return a column whose key is its name without the unit."""
    return Column(name, kind, key=name.removesuffix("_ms"), nullable=null)


def tenant() -> Column[str]:
    """Return the column that every tenant's row begins with."""
    return Column("tenant", String, nullable=False)


def belongs(column: str, to: str) -> ForeignKeyConstraint:
    """Return the foreign key of (tenant, column) to the same tenant's "table.column"."""
    table = to.partition(".")[0]
    return ForeignKeyConstraint(["tenant", column], [f"{table}.tenant", to])


def only_active(column: str) -> dict[str, Any]:
    """Return the options of a unique index over rows whose `column` says active."""
    return {"unique": True, **only_where(f"{column} = 'active'")}


def only_where(condition: str) -> dict[str, Any]:
    """Return the options of an index over the rows of which this SQL condition is true."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
