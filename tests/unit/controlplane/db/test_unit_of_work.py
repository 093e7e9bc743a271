"""Units of work: atomic alone, durable when answered, and undisturbed by their neighbours."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.state import NOW, a_lease, a_node, database_url, open_database
from sqlalchemy import Connection, event, text

from sealward.controlplane.adapters.db import engine
from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.adapters.db.writer import Writer
from sealward.controlplane.domain.errors import Code, Conflict, NotFound, Refused, Unavailable
from sealward.controlplane.services.ports import Transaction

ROOT = Path(__file__).parents[4]


def epoch(database: SqliteDatabase, scope: str) -> int:
    return database.read(lambda tx: tx.epochs.read([scope])[scope])


def test_a_unit_that_fails_leaves_nothing_and_passes_its_exception_on(database: SqliteDatabase):
    def unit(tx: Transaction) -> None:
        tx.epochs.bump("a")
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        database.write(unit)
    assert epoch(database, "a") == 0


def test_group_commit_keeps_units_apart_under_16_threads(database: SqliteDatabase):
    """Of 16 x 40 units every third fails half way: all others count, and none of the failed."""

    def write(number: int) -> int | None:
        def unit(tx: Transaction) -> int:
            value = tx.epochs.bump("shared")
            tx.challenges.spend(f"{number:064x}", NOW)
            if number % 3 == 0:
                raise Refused(Code.policy_denied, str(number))
            return value

        if number % 3 == 0:
            with pytest.raises(Refused, match=f"policy_denied: {number}$"):
                database.write(unit)
            return None
        return database.write(unit)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(write, range(640)))
    values = sorted(value for value in answers if value is not None)
    passed = [number for number in range(640) if number % 3]
    assert values == list(range(1, len(passed) + 1)), "units saw each other's effects in order"
    assert epoch(database, "shared") == len(passed)
    for number in (0, 3, 639):  # a failed unit's challenge can still be spent
        database.write(lambda tx, n=number: tx.challenges.spend(f"{n:064x}", NOW))


class HeldWriter:
    """A writer that is busy with a first unit until `release`, so that a batch can queue up."""

    def __init__(self, folder: Path) -> None:
        open_database(folder).close()
        self.engine = engine.write_engine(database_url(folder))
        self.statements: list[str] = []  # as SQLite sees them
        event.listen(
            self.engine,
            "connect",
            lambda driver, _: driver.set_trace_callback(self.statements.append),
        )
        self.writer = Writer(self.engine)
        self._pool = ThreadPoolExecutor(70)
        self._gate = threading.Event()
        started = threading.Event()
        self._first = self._pool.submit(
            self.writer.run, lambda _: (started.set(), self._gate.wait(20))[1]
        )
        assert started.wait(20)
        self._queued = 0

    def queue(self, unit: Callable[[Connection], object]) -> Future[object]:
        future = self._pool.submit(self.writer.run, unit)
        self._queued += 1
        deadline = time.monotonic() + 20
        while len(self.writer._queue) < self._queued:  # noqa: SLF001 - no port tells
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return future

    def release(self) -> None:
        self._gate.set()
        assert self._first.result(20)

    def close(self) -> None:
        self.writer.close()
        self._pool.shutdown()
        self.engine.dispose()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[HeldWriter]:
    writer = HeldWriter(tmp_path)
    yield writer
    writer.close()


def add_epoch(connection: Connection) -> None:
    connection.execute(text("INSERT INTO epochs VALUES ('t', 'a', 1)"))


def test_units_that_wait_share_one_commit(held: HeldWriter):
    """Group commit is the point of the writer: 64 units that wait need one flush, not 64."""
    units = [held.queue(lambda c: c.execute(text("SELECT 1")).scalar()) for _ in range(64)]
    held.release()
    assert [unit.result(20) for unit in units] == [1] * 64
    assert held.statements.count("COMMIT") == 2


def test_a_lost_transaction_fails_every_unit_of_it_and_the_next_works(held: HeldWriter):
    """No unit is answered whose commit did not happen, however well it went itself."""
    before = held.queue(add_epoch)
    lost = held.queue(lambda c: c.exec_driver_sql("ROLLBACK"))  # as SQLite does on a full disk
    after = held.queue(add_epoch)
    held.release()
    for unit in (before, lost, after):
        with pytest.raises(Unavailable) as caught:
            unit.result(20)
        assert caught.value.code is Code.database_unavailable
    held.writer.run(add_epoch)  # the row was not kept, so that it does not collide


def test_a_lost_transaction_fails_a_unit_that_is_alone(held: HeldWriter):
    held.release()
    with pytest.raises(Unavailable) as caught:
        held.writer.run(lambda c: c.exec_driver_sql("ROLLBACK"))
    assert caught.value.code is Code.database_unavailable


def test_a_unit_cannot_start_another(database: SqliteDatabase):
    with pytest.raises(RuntimeError, match="cannot start another"):
        database.write(lambda _: database.write(lambda tx: tx.epochs.bump("a")))


def test_reading_cannot_write(database: SqliteDatabase):
    with pytest.raises(RuntimeError, match="write inside"):
        database.read(lambda tx: tx.epochs.bump("a"))


def test_a_reader_sees_one_snapshot(database: SqliteDatabase):
    def look_twice(tx: Transaction) -> tuple[dict[str, int], dict[str, int]]:
        before = tx.epochs.read(["a"])
        writer = threading.Thread(target=database.write, args=(lambda tx: tx.epochs.bump("a"),))
        writer.start()
        writer.join()
        return before, tx.epochs.read(["a"])

    before, after = database.read(look_twice)
    assert before == after == {"a": 0}
    assert epoch(database, "a") == 1


def test_a_foreign_key_is_a_refusal_and_not_a_crash(database: SqliteDatabase):
    with pytest.raises(NotFound):
        database.write(lambda tx: tx.leases.add(a_lease(), ()))


def test_tenants_do_not_see_each_other(database: SqliteDatabase, tmp_path: Path):
    database.write(lambda tx: tx.nodes.add(a_node()))
    other = SqliteDatabase(database_url(tmp_path), tenant="other")
    try:
        assert other.read(lambda tx: tx.nodes.find(a_node().node_id)) is None
        other.write(lambda tx: tx.nodes.add(a_node()))  # no collision, so no oracle (F27)
        with pytest.raises(Conflict):
            database.write(lambda tx: tx.nodes.add(a_node()))
    finally:
        other.close()


def test_closing_finishes_what_waits_and_refuses_what_comes(tmp_path: Path):
    database = open_database(tmp_path)
    gate = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(database.write, lambda tx: gate.wait(10) and tx.epochs.bump("a"))
        closing = pool.submit(database.close)
        gate.set()
        assert waiting.result() == 1
        closing.result()
    with pytest.raises(Unavailable) as caught:
        database.write(lambda tx: tx.epochs.bump("a"))
    assert caught.value.code is Code.shutting_down
    database.close()


def test_a_wide_read_and_write_keep_instants_to_the_millisecond(database: SqliteDatabase):
    instant = NOW + timedelta(microseconds=999)
    database.write(lambda tx: tx.nodes.add(a_node(enrolled=instant)))
    assert database.read(lambda tx: tx.nodes.get(a_node().node_id)).enrolled == NOW


_WRITES_UNTIL_KILLED = """
import sys, threading
from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from datetime import UTC, datetime
LATER = datetime(2030, 1, 1, tzinfo=UTC)
database = SqliteDatabase(sys.argv[1])
lock = threading.Lock()
def work(first):
    for number in range(first, 1 << 30, 4):
        database.write(lambda tx: tx.challenges.spend(f"{number:064x}", LATER))
        with lock:
            print(number, flush=True)
for first in range(4):
    threading.Thread(target=work, args=(first,)).start()
"""


@pytest.mark.parametrize("after", [1, 50, 200])
def test_a_killed_process_loses_no_unit_that_was_answered(tmp_path: Path, after: int):
    open_database(tmp_path).close()
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITES_UNTIL_KILLED, database_url(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    answered = [process.stdout.readline() for _ in range(after)]
    process.kill()
    answered += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    # a last line without its end was cut by the kill
    numbers = [int(line) for line in answered if line.endswith("\n")]
    assert len(numbers) >= after
    database = SqliteDatabase(database_url(tmp_path))
    try:
        for number in numbers:
            with pytest.raises(Refused) as caught:
                database.write(lambda tx, n=number: tx.challenges.spend(f"{n:064x}", NOW))
            assert caught.value.code is Code.challenge_spent
    finally:
        database.close()
