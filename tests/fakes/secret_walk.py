"""Looks for secrets in a database: in every column of every table, and in the bytes of its files.

A secret counts as found in clear, in hex of either case, and in standard or URL-safe base64 at any
of the three alignments, whatever stands around it.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

MIN_SECRET_BYTES = 12  # shorter ones occur by chance


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret, by the name it was given, and where it lies."""

    secret: str
    place: str


def find_secrets(database: Path, secrets: Mapping[str, bytes]) -> tuple[Leak, ...]:
    """Return every place of the SQLite file `database` (and -wal, -shm) that holds a secret."""
    wanted = {name: _forms(secret) for name, secret in secrets.items()}
    leaks = []
    for place, content in (*_cells(database), *_files(database)):
        for name, forms in wanted.items():
            if any(form in content for form in forms):
                leaks.append(Leak(name, place))
    return tuple(leaks)


def _cells(database: Path) -> Iterator[tuple[str, bytes]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - from the schema
            names = [column[0] for column in rows.description]
            for row in rows:
                for name, value in zip(names, row, strict=True):
                    yield f"{table}.{name}", _bytes(value)


def _files(database: Path) -> Iterator[tuple[str, bytes]]:
    for path in database.parent.glob(database.name + "*"):
        yield path.name, path.read_bytes()  # free pages and the log hold what was deleted, too


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _forms(secret: bytes) -> tuple[bytes, ...]:
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret of fewer than {MIN_SECRET_BYTES} bytes occurs by chance")
    return (secret, secret.hex().encode(), secret.hex().upper().encode(), *_base64_forms(secret))


def _base64_forms(secret: bytes) -> Iterable[bytes]:
    for before in range(3):
        # Drop what depends on the neighbours: characters that share bits with bytes around.
        encoded = base64.b64encode(bytes(before) + secret)
        first = (0, 2, 3)[before]
        last = (before + len(secret)) * 8 // 6
        inner = encoded[first:last]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))
