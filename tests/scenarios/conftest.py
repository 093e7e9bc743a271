"""A furnished control plane for each scenario, with or without its listeners."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.control_plane import Reachable, World, reachable, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reachable]:
    """One for a module: its tests bring their own instances and leave clock and rules alone."""
    with reachable(tmp_path_factory.mktemp("plane")) as opened:
        yield opened


@pytest.fixture
def own_plane(tmp_path: Path) -> Iterator[Reachable]:
    """One for a test that moves the clock or changes the rules."""
    with reachable(tmp_path) as opened:
        yield opened
