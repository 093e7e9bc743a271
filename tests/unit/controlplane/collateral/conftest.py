"""A fresh administration for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.admin_plane import AdminPlane, admin_plane, empty_plane


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_plane(tmp_path_factory.mktemp("template"))


@pytest.fixture
def plane(tmp_path: Path, template: Path) -> Iterator[AdminPlane]:
    with admin_plane(tmp_path, template) as opened:
        yield opened
