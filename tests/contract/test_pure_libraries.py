"""What import contracts cannot see: calls that reach files, clocks or the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SEALWARD = Path(__file__).resolve().parents[2] / "sealward"
PURE = sorted((*SEALWARD.glob("verifier/**/*.py"), *SEALWARD.glob("sealing/**/*.py")))
EVERYTHING = sorted(SEALWARD.rglob("*.py"))

# Positioned reads and writes of a descriptor that the caller opened.
ALLOWED_OS = {"fstat", "preadv", "pwrite"}

# Who may ask what the date is: one adapter, and commands that are a process of their own.
CLOCKS = {
    "controlplane/adapters/system_clock.py",
    "controlplane/cli/model_seal.py",
    "controlplane/cli/verify.py",
    "enclave_agent/clock.py",
}
ASKING = {"now", "utcnow", "today", "time", "time_ns", "gmtime", "localtime"}


def attributes_of(source: Path, owners: set[str]) -> Iterator[str]:
    """Names taken from modules or classes called `owners`, as `os.getenv` is from `os`."""
    for node in ast.walk(ast.parse(source.read_text())):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in owners
        ):
            yield node.attr


def calls_of(source: Path) -> set[str]:
    """Plain names that a file calls."""
    return {
        node.func.id
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def test_the_scans_see_what_they_look_for(tmp_path: Path) -> None:
    source = tmp_path / "sample.py"
    source.write_text("import os, datetime\nopen('x')\nos.getenv('x')\ndatetime.now()\n")
    assert "open" in calls_of(source)
    assert set(attributes_of(source, {"os", "datetime"})) == {"getenv", "now"}
    assert len(PURE) > 30


@pytest.mark.parametrize("source", PURE, ids=lambda path: str(path.relative_to(SEALWARD)))
def test_the_libraries_open_no_file_and_ask_no_clock_or_environment(source: Path) -> None:
    assert not calls_of(source) & {"open", "input", "print", "eval", "exec", "__import__"}
    assert set(attributes_of(source, {"os"})) <= ALLOWED_OS
    assert not set(attributes_of(source, {"datetime", "date", "time"})) & ASKING


def test_only_named_edges_ask_for_the_date() -> None:
    asking = {
        str(source.relative_to(SEALWARD))
        for source in EVERYTHING
        if set(attributes_of(source, {"datetime", "date", "time"})) & ASKING
    }
    assert asking <= CLOCKS
