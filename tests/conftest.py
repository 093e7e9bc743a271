"""Fixtures shared by every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "vectors"


def require_part(reason: str) -> None:
    """Skip for a missing part, or fail where CI has promised that every part is there."""
    if os.environ.get("SEALWARD_REQUIRE_PARTS") == "1":
        pytest.fail(f"required part is missing: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def vectors_dir() -> Path:
    """The folder of real-hardware evidence: beside the checkout, never copied into it."""
    folder = Path(os.environ.get("SEALWARD_VECTORS", _BESIDE_THE_CHECKOUT))
    if not (folder / "manifest.json").is_file():
        require_part(f"no evidence vectors at {folder}; set SEALWARD_VECTORS to their folder")
    return folder
