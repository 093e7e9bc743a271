"""The folder of an installation is its owner's alone, whoever made it."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from fakes import tpm_machines
from fakes.control_plane import settings, world

from sealward.controlplane import bootstrap
from sealward.controlplane.domain.errors import Refused

# Tables and indices since the first release.
NEW = (
    "trust_anchors",
    "runtime_logs",
    "collateral",
    "collateral_floors",
    "attempts",
    "device_holds",
)
INDICES = ("ix_decisions_tenant_correlation_id",)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_data_folder_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    data = tmp_path / "plane"
    data.mkdir()
    data.chmod(mode)
    with pytest.raises(Refused) as caught:
        bootstrap.build(settings(data, None, "prod.example"), ring=lambda _: None)
    assert f"chmod 700 {data}" in caught.value.hint
    assert list(data.iterdir()) == []


def test_a_new_data_folder_and_its_database_are_private(tmp_path: Path) -> None:
    data = tmp_path / "plane"
    bootstrap.build(settings(data, None, "prod.example"), ring=lambda _: None).close()
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    database = data / "sealward.db"
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    database.chmod(0o666)
    with pytest.raises(Refused) as caught:
        bootstrap.build(settings(data, None, "prod.example"), ring=lambda _: None)
    assert f"chmod 600 {database}" in caught.value.hint


def test_the_data_folder_of_the_first_release_opens_and_takes_trust_anchors(
    tmp_path: Path,
) -> None:
    """No table of trust anchors, no key for credentials of TPMs: both come with the start."""
    with world(tmp_path) as here:
        before = here.content(without=NEW)
    data = tmp_path / "plane"
    keys = {path.name: path.read_bytes() for path in (data / "keys").iterdir()}
    (data / "keys" / "tpm_activation.key").unlink()
    with closing(sqlite3.connect(data / "sealward.db")) as connection, connection:
        for table in NEW:
            connection.execute(f"DROP TABLE {table}")
        for index in INDICES:
            connection.execute(f"DROP INDEX {index}")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    with world(tmp_path) as here:
        assert here.content(without=NEW) == before
        machine = tpm_machines.ready(here)
        node = tpm_machines.admitted(here, machine)
        assert node.attest(here).denials == ()
    made = {path.name: path.read_bytes() for path in (data / "keys").iterdir()}
    assert made.pop("tpm_activation.key") != keys.pop("tpm_activation.key")
    assert made == keys
