"""Installations of an earlier release run forwards, with everything in them as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from fakes.state import (
    a_join_token,
    a_lease,
    a_node,
    a_platform,
    a_principal,
    a_revision,
    a_runtime_log,
    a_set,
    a_sweep,
    a_token,
    a_trust_anchor,
    a_value,
    a_workload,
    an_activation,
    an_entry,
    an_evidence,
    database_url,
)

from sealward.controlplane.adapters.db import engine, schema
from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase, SqlTransaction
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.trust_anchors import AnchorKind

FIRST, SECOND = "0001", "0002"
_SINCE_SECOND = {"runtime_logs", "collateral", "collateral_floors", "attempts", "device_holds"}
NEW = {FIRST: {"trust_anchors", *_SINCE_SECOND}, SECOND: _SINCE_SECOND}  # tables since then


def installation_of(folder: Path, revision: str) -> dict[str, list[tuple[object, ...]]]:
    """Make a database of an earlier schema, fill it, and return its rows by table."""
    (folder / "state.db").touch(0o600)
    writer = engine.write_engine(database_url(folder))
    with writer.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "sealward:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        fill(SqlTransaction(connection, "default"), revision)
    writer.dispose()
    return rows_of(folder)


def fill(tx: SqlTransaction, revision: str) -> None:
    """One record of nearly everything that this schema holds."""
    tx.nodes.add(a_node())
    tx.evidence.put(an_evidence())
    tx.platforms.put(a_platform())
    tx.principals.add(a_principal())
    tx.tokens.add(a_token())
    tx.join_tokens.add(a_join_token())
    tx.workloads.add(a_workload())
    tx.leases.add(a_lease(), ())
    tx.policies.add_revision(a_revision())
    tx.policies.activate(an_activation("activation-1"))
    tx.references.add_set(a_set(), (a_value(),))
    tx.epochs.bump("reference")
    tx.sweeps.add(a_sweep())
    tx.audit.append(an_entry())
    if revision >= SECOND:
        tx.trust_anchors.put(a_trust_anchor())


def rows_of(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(folder / "state.db")) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: connection.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608 - our own table names
            for (name,) in names.fetchall()
        }


@pytest.mark.parametrize("revision", [FIRST, SECOND])
def test_an_installation_of_an_earlier_schema_keeps_every_row(
    tmp_path: Path, revision: str
) -> None:
    before = installation_of(tmp_path, revision)
    assert sum(map(bool, before.values())) > 14
    schema.migrate(database_url(tmp_path))
    after = rows_of(tmp_path)
    assert after.keys() - before.keys() == NEW[revision]
    assert all(after.pop(name) == [] for name in NEW[revision])
    assert after.pop("alembic_version") != before.pop("alembic_version")
    assert after == before


@pytest.mark.parametrize("revision", [FIRST, SECOND])
def test_an_installation_of_an_earlier_schema_is_refused_until_it_is_migrated(
    tmp_path: Path, revision: str
) -> None:
    installation_of(tmp_path, revision)
    with pytest.raises(Refused) as caught:
        SqliteDatabase(database_url(tmp_path))
    assert caught.value.code is Code.schema_mismatch


def test_a_migrated_installation_takes_trust_anchors(tmp_path: Path) -> None:
    installation_of(tmp_path, FIRST)
    schema.migrate(database_url(tmp_path))
    database = SqliteDatabase(database_url(tmp_path))
    database.write(lambda tx: tx.trust_anchors.put(a_trust_anchor()))
    assert database.read(lambda tx: tx.nodes.get(a_node().node_id)) == a_node()
    in_force = database.read(lambda tx: tx.trust_anchors.in_force(AnchorKind.tpm_ek))
    database.close()
    assert in_force == (a_trust_anchor(),)


def test_a_migrated_installation_takes_runtime_logs(tmp_path: Path) -> None:
    installation_of(tmp_path, SECOND)
    schema.migrate(database_url(tmp_path))
    database = SqliteDatabase(database_url(tmp_path))
    database.write(lambda tx: tx.runtime_logs.put(a_runtime_log()))
    kept = database.read(lambda tx: tx.runtime_logs.find(a_node().node_id))
    database.close()
    assert kept == a_runtime_log()
