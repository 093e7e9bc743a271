"""The one writer: units of work from many threads, many of them in one commit (group commit).

A commit costs a disk flush whatever it holds, so the writer takes all the units that wait, up to a
limit, and commits once. Each runs inside a savepoint of its own: one that fails is undone alone and
its exception goes to its caller. No caller hears of success before the commit has returned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sealward.controlplane.adapters.db.engine import translate
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.domain.errors import Code, Unavailable

T = TypeVar("T")

_BEGIN_UNIT: Final = Prepared(text("SAVEPOINT unit"))
_UNDO_UNIT: Final = Prepared(text("ROLLBACK TO SAVEPOINT unit"))
_END_UNIT: Final = Prepared(text("RELEASE SAVEPOINT unit"))
MAX_UNITS: Final = 64  # in one commit: beyond it the flush is already shared well enough


class _Unit:
    """A unit of work, its outcome, and the future that its caller waits on."""

    def __init__(self, fn: Callable[[Connection], Any]) -> None:
        self.future: Future[Any] = Future()
        self._fn = fn
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        """Run inside a savepoint. SQLAlchemyError when the whole transaction is lost."""
        _BEGIN_UNIT.count(connection, {})
        try:
            self._result = self._fn(connection)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, who gets it below
            self._error = translate(error) if isinstance(error, DBAPIError) else error
            _UNDO_UNIT.count(connection, {})
        _END_UNIT.count(connection, {})

    def fail(self, error: Exception) -> None:
        """Replace success by `error`; a failure of the unit's own stays."""
        self._error = self._error or error

    def resolve(self) -> None:
        """Wake the caller."""
        if self._error is None:
            self.future.set_result(self._result)
        else:
            self.future.set_exception(self._error)


class Writer:
    """Runs units of work one after another in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: SimpleQueue[_Unit | None] = SimpleQueue()
        self._lock = threading.Lock()  # between "not closed" and "queued"
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="database-writer", daemon=True)
        self._thread.start()

    def run(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in a transaction and return its answer once that is durable.

        Raises what `fn` raises, Unavailable when nothing could be committed, RuntimeError when
        called from inside a unit of work.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a unit of work cannot start another")
        unit = _Unit(fn)
        with self._lock:
            if self._closed:
                raise Unavailable(Code.shutting_down, "the database is closed")
            self._queue.put(unit)
        result: T = unit.future.result()
        return result

    def close(self) -> None:
        """Finish what is queued, then stop. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        while batch := self._next_batch():
            self._commit(batch)
            for unit in batch:
                unit.resolve()

    def _next_batch(self) -> list[_Unit]:
        """Wait for a unit, then take those that wait as well. Empty when closed."""
        batch: list[_Unit] = []
        try:
            unit = self._queue.get()
            while unit is not None:
                batch.append(unit)
                if len(batch) == MAX_UNITS:
                    return batch
                unit = self._queue.get_nowait()
        except Empty:
            return batch
        if batch:
            self._queue.put(None)  # closed: nothing follows, stop at the next turn
        return batch

    def _commit(self, batch: list[_Unit]) -> None:
        try:
            with self._engine.begin() as connection:
                for unit in batch:
                    unit.run(connection)
        except SQLAlchemyError as error:
            lost = Unavailable(Code.database_unavailable, "the transaction was lost")
            reason = translate(error) if isinstance(error, DBAPIError) else lost
            for unit in batch:
                unit.fail(reason if isinstance(reason, Unavailable) else lost)
        except Exception as error:  # noqa: BLE001 - a unit must always be answered
            for unit in batch:
                unit.fail(error)
