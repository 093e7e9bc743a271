"""Transactions on connections that stay open between them.

A transaction of SQLAlchemy's own, from its pool and back, costs as much as five statements of a
decision. Here a connection is taken out of the pool once and then lent, the latest first: its cache
of pages is warm.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sqlalchemy import Connection, Engine, text

from sealward.controlplane.adapters.db.engine import HELD
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.domain.errors import Code, Unavailable

_COMMIT: Final = Prepared(text("COMMIT"))
_WAIT_S: Final = 10.0  # far beyond a decision, which holds a connection for milliseconds


class Transactions:
    """The transactions of one engine, each on a connection of its own.

    Args:
        engine: made by `engine.write_engine` or `engine.read_engine`.
        begin: the statement that begins one.
        most: how many there may be at once; not more than the engine's pool has connections.
        wait_seconds: how long one waits for a connection before it is refused.
    """

    def __init__(
        self, engine: Engine, *, begin: str, most: int, wait_seconds: float = _WAIT_S
    ) -> None:
        self._engine = engine
        self._begin = Prepared(text(begin))
        self._most = most
        self._wait_seconds = wait_seconds
        self._idle: list[Connection] = []  # popped and appended without the lock
        self._changed = threading.Condition(threading.Lock())  # guards what follows
        self._opened = 0
        self._waiting = 0
        self._closed = False

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Yield a connection inside a transaction; commit in the end, or undo if that raises.

        Raises:
            DBAPIError: from the statements that begin and commit.
            Unavailable(overloaded): every connection is taken, and stays so.
        """
        connection = self._take()
        try:
            self._begin.count(connection, {})
            yield connection
            _COMMIT.count(connection, {})
        except BaseException:
            self._undo(connection)
            raise
        self._give_back(connection)

    def close(self) -> None:
        """Close the connections that are idle now, and the others when they come back."""
        with self._changed:
            self._closed = True
        with suppress(IndexError):  # until there is none
            while True:
                self._discard(self._idle.pop())

    def _take(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._open_or_wait()

    def _open_or_wait(self) -> Connection:
        with self._changed:
            self._waiting += 1  # before another look: who gives back looks after appending
            try:
                found = self._changed.wait_for(self._idle_or_opened, timeout=self._wait_seconds)
            finally:
                self._waiting -= 1
        if found is None:
            raise Unavailable(Code.overloaded, "too many readers wait for the database")
        return found

    def _idle_or_opened(self) -> Connection | None:
        if self._idle:
            with suppress(IndexError):  # who came without the lock was quicker
                return self._idle.pop()
        if self._opened == self._most:
            return None
        connection = self._engine.connect()
        self._opened += 1
        return connection.execution_options(**{HELD: True})

    def _give_back(self, connection: Connection) -> None:
        if connection.in_transaction():  # what Core believes since its first statement
            connection.rollback()
        self._idle.append(connection)
        if self._closed:
            self.close()
        elif self._waiting:
            with self._changed:
                self._changed.notify()

    def _undo(self, connection: Connection) -> None:
        driver = connection.connection
        try:
            driver.rollback()  # says nothing when the database has ended the transaction itself
        except connection.dialect.loaded_dbapi.Error:
            self._discard(connection)
        else:
            self._give_back(connection)

    def _discard(self, connection: Connection) -> None:
        """Close a connection for good; another may be opened in its place."""
        connection.close()
        with self._changed:
            self._opened -= 1
            self._changed.notify()
