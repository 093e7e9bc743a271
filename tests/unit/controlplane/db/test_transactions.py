"""A transaction on a held connection must be one, whoever runs the statements in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.state import database_url, open_database
from sqlalchemy import Connection, event, text

from sealward.controlplane.adapters.db import engine
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.adapters.db.transactions import Transactions
from sealward.controlplane.domain.errors import Code, Unavailable

ADD = text("INSERT INTO epochs VALUES ('t', 'a', 1)")
COUNT = text("SELECT count(*) FROM epochs")


class Held:
    """Transactions of one writer, and the connections that were opened for them."""

    def __init__(self, folder: Path) -> None:
        open_database(folder).close()
        self.engine = engine.write_engine(database_url(folder))
        self.opened: list[object] = []
        event.listen(self.engine, "connect", lambda driver, _: self.opened.append(driver))
        self.transactions = Transactions(
            self.engine, begin=engine.BEGIN_WRITING, most=1, wait_seconds=0.2
        )

    def count(self) -> int:
        with self.transactions.begin() as connection:
            return int(connection.execute(COUNT).scalar_one())


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    made = Held(tmp_path)
    yield made
    made.transactions.close()
    made.engine.dispose()


def add_by_core(connection: Connection) -> None:
    connection.execute(ADD)


def add_prepared(connection: Connection) -> None:
    Prepared(ADD).count(connection, {})


Add = Callable[[Connection], None]


@pytest.mark.parametrize("add", [add_by_core, add_prepared])
def test_what_is_written_stands_after_the_end_and_on_one_connection(held: Held, add: Add):
    with held.transactions.begin() as connection:
        add(connection)
    assert held.count() == 1
    assert len(held.opened) == 1


@pytest.mark.parametrize("add", [add_by_core, add_prepared])
def test_what_fails_is_undone_and_the_connection_goes_on(held: Held, add: Add):
    def fail() -> None:
        with held.transactions.begin() as connection:
            add(connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert held.count() == 0
    assert len(held.opened) == 1


def test_a_transaction_that_has_ended_already_cannot_be_committed(held: Held):
    """SQLite ends one by itself when a disk is full; a commit that says nothing would lie."""
    with pytest.raises(Exception, match="no transaction"), held.transactions.begin() as connection:
        Prepared(text("ROLLBACK")).count(connection, {})
    assert held.count() == 0


def test_who_finds_no_connection_waits_and_is_then_refused(held: Held):
    with held.transactions.begin(), pytest.raises(Unavailable) as caught:
        held.count()
    assert caught.value.code is Code.overloaded


def test_who_waits_gets_the_connection_that_comes_back(tmp_path: Path):
    waiting = Held(tmp_path)
    transactions = Transactions(waiting.engine, begin=engine.BEGIN_WRITING, most=1)
    turns: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            with transactions.begin():
                turns.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(turns) == 200
    assert len(waiting.opened) == 1
    transactions.close()
    waiting.engine.dispose()


def test_a_connection_that_comes_back_after_the_end_is_closed(held: Held):
    with held.transactions.begin():
        held.transactions.close()
    assert held.engine.pool.checkedout() == 0
