"""Everything that is particular to SQLite: connections, pragmas, transactions, meaning of errors.

Source of the settings: sqlite.org/pragma.html and sqlite.org/wal.html. WAL lets readers go on while
the writer commits; synchronous=FULL makes a commit survive a power cut, not only a crash.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.domain.errors import Code, Conflict, NotFound, Refused, Unavailable

_BUSY_MS: Final = 5000  # how long another process (a migration, a backup) may hold the write lock
BEGIN_WRITING: Final = "BEGIN IMMEDIATE"
BEGIN_READING: Final = "BEGIN"
READERS: Final = 8  # connections that read
_OTHERS: Final = 0o077  # any right of group or world
_CACHE_KIB: Final = 32 * 1024  # of a connection; 2 MiB, the default, makes every commit read again
_WAL_PAGES: Final = 4096  # 16 MiB of log before it is copied back; hot pages are then copied less
HELD: Final = "sealward_held"  # option of connections on which `transactions` begins and ends
_STATEMENTS: Final = 512  # prepared statements kept by a connection; we have about 150


def write_engine(url: str) -> Engine:
    """Return the engine of the one writer; a missing file is made, for its owner only.

    Raises:
        Refused(wrong_database): `url` is not sqlite:///FILE, or others can use the file.
        Unavailable(database_unavailable): the file cannot be made or opened.
    """
    path = _file_of(url)
    try:
        with contextlib.suppress(FileExistsError):
            # -wal and -shm get the mode of the database itself
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise Unavailable(
            Code.database_unavailable,
            f"cannot create the database file: {error.strerror}",
            "check that its folder exists and can be written by this user",
        ) from None
    _require_private(path)
    return _engine(url, begin=BEGIN_WRITING, query_only=False, pool_size=1)


def read_engine(url: str) -> Engine:
    """Return an engine whose connections cannot write.

    Raises:
        Refused(wrong_database): `url` is not sqlite:///FILE.
        Refused(wrong_database): `url` is not sqlite:///FILE, or others can use the file.
        Refused(schema_mismatch): there is no such file; SQLite would make one that all can read.
    """
    path = _file_of(url)
    if not os.path.exists(path):  # noqa: PTH110 - a path as SQLAlchemy gives it
        raise Refused(
            Code.schema_mismatch, "there is no database file yet", "run `sealward migrate`"
        )
    _require_private(path)
    return _engine(url, begin=BEGIN_READING, query_only=True, pool_size=READERS)


def is_unique_violation(error: DBAPIError) -> bool:
    """Tell whether a row with the same key, or the same unique value, is there already."""
    return _name(error) in {"SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"}


def translate(error: DBAPIError) -> Exception:
    """Return what a driver's error means outside; parameters and SQL stay out of the text."""
    name = _name(error)
    if is_unique_violation(error):
        return Conflict(Code.already_exists, "a record with this key exists already")
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return NotFound(Code.not_found, "the record belongs to one that does not exist")
    if name.startswith("SQLITE_READONLY"):
        return RuntimeError("a write inside Database.read")
    return Unavailable(
        Code.database_unavailable,
        f"the database answered {name or type(error.orig).__name__}",
        "see free space and permissions of the database file and whether another process holds it",
    )


def require_transaction(connection: Connection) -> None:
    """Return while the transaction stands.

    SQLite ends one by itself when a disk is full, say. A commit after that would say nothing, and
    what was written since stands already.

    Raises:
        SQLAlchemyError: it has ended.
    """
    driver: Any = connection.connection.dbapi_connection
    if not driver.in_transaction:
        raise SQLAlchemyError("the transaction was ended by the database")


def _name(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlite_errorname", "")


def _require_private(path: str) -> None:
    """Refuse a database that others than its owner have any right to.

    Who can write it can admit nodes and pin creators; who can read it reads the audit log.
    """
    for name in (path, f"{path}-wal", f"{path}-shm"):
        try:
            mode = os.stat(name).st_mode  # noqa: PTH116 - a path as SQLAlchemy gives it
        except FileNotFoundError:
            continue
        if mode & _OTHERS:
            raise Refused(
                Code.wrong_database,
                f"the database file {name} can be used by others",
                f"chmod 600 {name}, and consider what they may have changed",
            )


def _file_of(url: str) -> str:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.drivername != "sqlite" or parsed.query:
        raise Refused(
            Code.wrong_database, "not a database this build can use", "give sqlite:////FILE"
        )
    if not parsed.database or parsed.database == ":memory:":
        raise Refused(
            Code.wrong_database, "the state needs a file that outlives us", "give sqlite:////FILE"
        )
    return parsed.database


def _engine(url: str, *, begin: str, query_only: bool, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "cached_statements": _STATEMENTS},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401 - pool's own
        connection.isolation_level = None  # the driver begins nothing: the next listener does
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise Unavailable(
                Code.database_unavailable,
                f"the database file works in journal mode {mode} only",
                "put it on a local file system",
            )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # what is erased is overwritten (F27)
        connection.execute(f"PRAGMA query_only={'ON' if query_only else 'OFF'}")

    first = Prepared(text(begin))  # the driver itself begins nothing

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get(HELD):
            first.count(connection, {})

    return engine
