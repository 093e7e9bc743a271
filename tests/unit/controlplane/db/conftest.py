"""A database, empty or with what other records belong to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.state import a_node, a_principal, a_revision, a_workload, open_database

from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.services.ports import Transaction


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = open_database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def peopled(database: SqliteDatabase) -> SqliteDatabase:
    """A database with a node, a workload, a principal and a revision to belong to."""

    def people(tx: Transaction) -> None:
        tx.nodes.add(a_node())
        tx.workloads.add(a_workload())
        tx.principals.add(a_principal())
        tx.policies.add_revision(a_revision())

    database.write(people)
    return database
