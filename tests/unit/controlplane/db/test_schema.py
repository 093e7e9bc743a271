"""The migrated database is the one that the code believes in."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from fakes.state import database_url, open_database
from sqlalchemy import Engine, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from sealward.controlplane.adapters.db import engine, schema
from sealward.controlplane.adapters.db.tables import metadata
from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.domain.errors import Code, DomainError, Refused


def refusal(call: Callable[..., object], *args: object) -> Code:
    with pytest.raises(DomainError) as caught:
        call(*args)
    return caught.value.code


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Engine]:
    schema.migrate(database_url(tmp_path))
    writer = engine.write_engine(database_url(tmp_path))
    yield writer
    writer.dispose()


def test_migrations_build_the_tables_of_the_code(migrated: Engine):
    with migrated.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_constraints_and_indexes_have_the_names_and_columns_of_the_code(migrated: Engine):
    """Alembic does not compare these for SQLite."""
    found = inspect(migrated)
    for table in metadata.sorted_tables:
        key = found.get_pk_constraint(table.name)
        assert key["constrained_columns"] == [c.name for c in table.primary_key], table.name
        foreign = {tuple(f["constrained_columns"]) for f in found.get_foreign_keys(table.name)}
        assert foreign == {
            tuple(c.name for c in f.columns) for f in table.foreign_key_constraints
        }, table.name
    rows = sqlite3.connect(migrated.url.database)
    with closing(rows):
        built = dict(rows.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    for index in (index for table in metadata.sorted_tables for index in table.indexes):
        assert built[index.name] == str(CreateIndex(index).compile(migrated)), index.name


def test_every_table_belongs_to_a_tenant_or_to_the_installation():
    whole = {"system_marker", "audit_checkpoints"}
    assert {t.name for t in metadata.sorted_tables if "tenant" not in t.c} == whole
    logged = {"audit_entries"}  # keyed by the place in the one log
    for table in metadata.sorted_tables:
        if table.name not in whole | logged:
            assert next(iter(table.primary_key)).name == "tenant", table.name


def test_tables_compile_for_postgresql():
    for table in metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=postgresql.dialect()))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=postgresql.dialect()))


def test_migrating_twice_changes_nothing(tmp_path: Path):
    schema.migrate(database_url(tmp_path))
    schema.migrate(database_url(tmp_path))
    schema.require_current(database_url(tmp_path))


def test_files_are_private_from_the_start(tmp_path: Path):
    database = open_database(tmp_path)
    database.write(lambda tx: tx.epochs.bump("a"))
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    database.close()
    assert len(modes) >= 2
    assert set(modes.values()) == {0o600}


def test_opening_makes_no_file(tmp_path: Path) -> None:
    assert refusal(SqliteDatabase, database_url(tmp_path)) is Code.schema_mismatch
    assert list(tmp_path.iterdir()) == []


def test_an_unmigrated_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch(0o600)
    assert refusal(SqliteDatabase, database_url(tmp_path)) is Code.schema_mismatch


def test_a_newer_database_is_refused(tmp_path: Path):
    schema.migrate(database_url(tmp_path))
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert refusal(SqliteDatabase, database_url(tmp_path)) is Code.schema_mismatch
    assert refusal(schema.migrate, database_url(tmp_path)) is Code.schema_mismatch


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "postgresql://h/d", "nonsense", "sqlite:///f?mode=ro"],
)
def test_a_database_that_cannot_hold_the_state_is_refused(url: str):
    assert refusal(schema.migrate, url) is Code.wrong_database


def test_a_missing_folder_is_named(tmp_path: Path):
    code = refusal(schema.migrate, database_url(tmp_path / "absent"))
    assert code is Code.database_unavailable


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path):
    (tmp_path / "state.db").touch(0o600)
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)
    assert refusal(schema.migrate, database_url(tmp_path)) is Code.database_unavailable
    assert (tmp_path / "state.db").read_bytes() == b"not a database" * 100


@pytest.mark.parametrize("mode", [0o666, 0o640, 0o602])
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_database_that_others_can_use_is_refused(tmp_path: Path, mode: int, suffix: str):
    open_database(tmp_path).close()
    file = tmp_path / f"state.db{suffix}"
    file.touch()
    file.chmod(mode)
    for opening in (schema.migrate, SqliteDatabase):
        with pytest.raises(Refused) as caught:
            opening(database_url(tmp_path))
        assert caught.value.code is Code.wrong_database
        assert f"chmod 600 {file}" in caught.value.hint
    file.chmod(0o600)
    SqliteDatabase(database_url(tmp_path)).close()


def test_codes_are_their_own_names():
    assert all(code.name == code.value for code in Code)
