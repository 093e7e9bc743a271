"""The folder of an installation is its owner's alone, whoever made it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from fakes.control_plane import settings

from sealward.controlplane import bootstrap
from sealward.controlplane.domain.errors import Refused


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
