"""A prepared statement must be what SQLAlchemy Core makes of it, only sooner."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, OperationalError

from sealward.controlplane.adapters.db.columns import INSTANT
from sealward.controlplane.adapters.db.engine import is_unique_violation
from sealward.controlplane.adapters.db.prepared import Prepared

THINGS = Table(
    "things",
    MetaData(),
    Column("name", String, primary_key=True),
    Column("made_ms", INSTANT, key="made"),
    Column("content", LargeBinary),
    Column("size", BigInteger),
)
THING = {
    "name": "a",
    "made": datetime(2026, 11, 23, 12, 0, 0, 125_000, tzinfo=UTC),
    "content": b"\x00\xff",
    "size": None,
}
ADD = Prepared(insert(THINGS), columns=("name", "made", "content", "size"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / 'things.db'}")
    THINGS.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as begun:
        yield begun


def test_values_go_through_the_types_of_their_columns_both_ways(connection: Connection):
    assert ADD.count(connection, THING) == 1
    found = Prepared(select(THINGS)).rows(connection, {})
    assert found == [tuple(row) for row in connection.execute(select(THINGS))]
    assert found == [tuple(THING.values())]


def test_constants_of_a_statement_keep_their_value_at_every_run(connection: Connection):
    ADD.count(connection, THING)
    old = Prepared(select(THINGS.c.name).where(THINGS.c.made == THING["made"]).limit(1))
    assert old.rows(connection, {}) == old.rows(connection, {}) == [("a",)]


def test_an_update_changes_its_columns_alone_and_counts_rows(connection: Connection):
    ADD.count(connection, THING)
    grow = Prepared(update(THINGS).where(THINGS.c.name == bindparam("k_name")), columns=("size",))
    assert grow.count(connection, {**THING, "size": 7, "made": None, "k_name": "a"}) == 1
    assert grow.count(connection, {"size": 7, "k_name": "nobody"}) == 0
    [(_, made, _, size)] = Prepared(select(THINGS)).rows(connection, {})
    assert (made, size) == (THING["made"], 7)


def test_returned_columns_are_converted(connection: Connection):
    ADD.count(connection, THING)
    touch = Prepared(update(THINGS).values(size=1).returning(THINGS.c.made))
    assert touch.rows(connection, {}) == [(THING["made"],)]


def test_errors_of_the_driver_are_those_of_core(connection: Connection):
    ADD.count(connection, THING)
    with pytest.raises(IntegrityError) as twice:
        ADD.count(connection, THING)
    assert is_unique_violation(twice.value)
    with pytest.raises(OperationalError):
        Prepared(text("SELECT nothing FROM nowhere")).rows(connection, {})


def test_errors_do_not_repeat_the_values(connection: Connection):
    secret = {**THING, "content": b"a secret"}
    ADD.count(connection, secret)
    with pytest.raises(IntegrityError) as twice:
        ADD.count(connection, secret)
    assert "a secret" not in str(twice.value)
