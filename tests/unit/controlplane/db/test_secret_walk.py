"""The walk that proves the absence of secrets must find them where they are."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fakes.secret_walk import find_secrets

SECRET = bytes(range(200, 232))


@pytest.mark.parametrize("before", [b"", b"x", b"xy"])
@pytest.mark.parametrize("after", [b"", b"z", b"zz"])
@pytest.mark.parametrize(
    "encode",
    [bytes, bytes.hex, lambda b: b.hex().upper(), base64.b64encode, base64.urlsafe_b64encode],
)
def test_finds_every_encoding_among_neighbours(
    tmp_path: Path, encode: Callable[[bytes], bytes | str], before: bytes, after: bytes
):
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER, cell)")
        connection.execute("INSERT INTO t VALUES (1, ?)", (encode(before + SECRET + after),))
    leaks = find_secrets(tmp_path / "a.db", {"kek": SECRET, "other": bytes(32)[::-1] + b"never"})
    assert {leak.secret for leak in leaks} == {"kek"}
    assert "t.cell" in {leak.place for leak in leaks}


def test_finds_what_a_delete_left_behind(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("CREATE TABLE t (cell)")
        connection.execute("INSERT INTO t VALUES (?)", (SECRET,))
        connection.execute("DELETE FROM t")
    assert [leak.place for leak in find_secrets(tmp_path / "a.db", {"kek": SECRET})] == ["a.db"]


def test_refuses_a_secret_that_occurs_by_chance(tmp_path: Path):
    with pytest.raises(ValueError, match="by chance"):
        find_secrets(tmp_path / "a.db", {"pin": b"1234"})
