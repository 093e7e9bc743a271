"""One writer at a time: units of work from many threads, many of them in one commit (group commit).

A commit costs a disk flush whatever it holds, so whoever comes while nobody writes leads: its
thread takes all the units that wait, up to a limit, runs them and commits once. Those that came
meanwhile are led by the first of them. A unit that is alone runs in the thread that brought it, and
nothing has to be handed from thread to thread. Each unit of several runs inside a savepoint of its
own: one that fails is undone alone and its exception goes to its caller. No caller hears of success
before the commit has returned.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sealward.controlplane.adapters.db.engine import BEGIN_WRITING, require_transaction, translate
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.adapters.db.transactions import Transactions
from sealward.controlplane.domain.errors import Code, Unavailable

T = TypeVar("T")

_BEGIN_UNIT: Final = Prepared(text("SAVEPOINT unit"))
_UNDO_UNIT: Final = Prepared(text("ROLLBACK TO SAVEPOINT unit"))
_END_UNIT: Final = Prepared(text("RELEASE SAVEPOINT unit"))
MAX_UNITS: Final = 64  # in one commit: beyond it the flush is already shared well enough


class _Undone(Exception):
    """The only unit of a transaction failed."""


class _Unit:
    """A unit of work, its outcome, and the lock on which its caller waits for its turn.

    Attributes:
        turn: released when the unit is done, or when its caller shall lead.
        done: whether the outcome stands.
    """

    def __init__(self, fn: Callable[[Connection], Any]) -> None:
        self.turn = threading.Lock()
        self.done = False
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

    def run_alone(self, connection: Connection) -> None:
        """Run as all there is in the transaction, which _Undone takes back as a whole.

        SQLAlchemyError when the transaction is lost.
        """
        try:
            self._result = self._fn(connection)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, as in `run`
            self._error = translate(error) if isinstance(error, DBAPIError) else error
            raise _Undone from None
        require_transaction(connection)

    def fail(self, error: Exception) -> None:
        """Replace success by `error`; a failure of the unit's own stays."""
        self._error = self._error or error

    def outcome(self) -> Any:  # noqa: ANN401 - whatever the unit answers
        """Return or raise what came of it."""
        if self._error is not None:
            raise self._error
        return self._result


class Writer:
    """Runs units of work one after another, in the threads of their callers."""

    def __init__(self, engine: Engine) -> None:
        self._transactions = Transactions(engine, begin=BEGIN_WRITING, most=1)
        self._queue: deque[_Unit] = deque()
        self._idle = threading.Condition(threading.Lock())  # guards all of the following
        self._leader: int | None = None  # the thread that writes
        self._led = False  # also between one leader and the next
        self._closed = False

    def run(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in a transaction and return its answer once that is durable.

        Raises what `fn` raises, Unavailable when nothing could be committed, RuntimeError when
        called from inside a unit of work.
        """
        if self._leader == threading.get_ident():
            raise RuntimeError("a unit of work cannot start another")
        unit = _Unit(fn)
        with self._idle:
            if self._closed:
                raise Unavailable(Code.shutting_down, "the database is closed")
            self._queue.append(unit)
            waits, self._led = self._led, True
            if waits:
                unit.turn.acquire()
        if waits:
            unit.turn.acquire()  # until a leader has done the unit, or leaves the lead to it
        if not unit.done:
            self._lead()
        result: T = unit.outcome()
        return result

    def close(self) -> None:
        """Finish what is queued, then stop. Idempotent."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: not self._led)
        self._transactions.close()

    def _lead(self) -> None:
        """Write what waits, the caller's unit first, then let the next one lead."""
        with self._idle:
            self._leader = threading.get_ident()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_UNITS))]
        try:
            self._commit(batch)
        finally:
            with self._idle:
                self._leader = None
                following = self._queue[0] if self._queue else None
                self._led = following is not None
                self._idle.notify_all()
            for unit in batch:
                unit.done = True
            for unit in (*batch[1:], *([] if following is None else [following])):
                unit.turn.release()

    def _commit(self, batch: list[_Unit]) -> None:
        try:
            with self._transactions.begin() as connection:
                if len(batch) == 1:
                    batch[0].run_alone(connection)
                else:
                    for unit in batch:
                        unit.run(connection)
        except _Undone:
            pass
        except SQLAlchemyError as error:
            lost = Unavailable(Code.database_unavailable, "the transaction was lost")
            reason = translate(error) if isinstance(error, DBAPIError) else lost
            for unit in batch:
                unit.fail(reason if isinstance(reason, Unavailable) else lost)
        except Exception as error:  # noqa: BLE001 - a unit must always be answered
            for unit in batch:
                unit.fail(error)
