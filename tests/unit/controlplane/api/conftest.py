"""A fresh administration for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.admin_plane import AdminPlane, admin_plane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[AdminPlane]:
    with admin_plane(tmp_path) as opened:
        yield opened
