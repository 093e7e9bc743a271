"""The walk that proves the absence of secrets must find them where they are."""

from __future__ import annotations

import base64
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.secret_walk import find_secrets
from fakes.state import a_principal, a_token, a_workload, a_workload_key, open_database

from sealward.controlplane.adapters.keystore import file
from sealward.controlplane.adapters.keystore.file import FileKeystore
from sealward.controlplane.domain.keys import KeyContext, KeyPurpose, WrapPurpose
from sealward.controlplane.services.ports import Transaction

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


def test_a_stolen_database_has_no_secret_in_usable_form(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    file.create(tmp_path / "keys", secrets.token_bytes)
    keystore = FileKeystore(tmp_path / "keys", secrets.token_bytes)
    private, token = secrets.token_bytes(32), secrets.token_bytes(32)
    context = KeyContext(
        purpose=WrapPurpose.workload_private, tenant="default", workload="classify", version=1
    )
    key_id, mac = keystore.mac(KeyPurpose.token_mac, token)

    def fill(tx: Transaction) -> None:
        tx.workloads.add(a_workload())
        wrapped = keystore.wrap(private, context)
        tx.workloads.add_key(replace(a_workload_key(), wrapped_private=wrapped))
        tx.principals.add(a_principal())
        tx.tokens.add(replace(a_token(), secret_mac=mac, mac_key_id=key_id))

    database = open_database(tmp_path / "db")
    database.write(fill)
    keys = {
        f"{path.name}:{number}": bytes.fromhex(line)
        for path in (tmp_path / "keys").iterdir()
        for number, line in enumerate(path.read_text().splitlines())
        if not line.startswith("-----") and set(line) <= set("0123456789abcdef")
    }
    assert len(keys) == 5
    wanted = {"workload key": private, "token": token, **keys}
    assert find_secrets(tmp_path / "db" / "state.db", wanted) == ()
    assert find_secrets(tmp_path / "db" / "state.db", {"control": mac}), "the walk sees the rows"
    database.close()
