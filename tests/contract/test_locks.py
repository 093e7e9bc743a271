"""The locks pin every dependency by hash and name no address; both distributions go together."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-demo.lock", "requirements-dev.lock")
PIN = re.compile(r"^([a-z0-9.-]+)==([^\s;]+).*\\$")


def pins(lock: str) -> set[tuple[str, str]]:
    """Name and version of every pin in a lock; a name has several where Python versions differ."""
    lines = (ROOT / lock).read_text().splitlines()
    return {(found[1], found[2]) for line in lines if (found := PIN.match(line))}


def pinned(lock: str) -> set[str]:
    """Names that a lock pins."""
    return {name for name, _ in pins(lock)}


def project(file: str) -> dict[str, object]:
    """The [project] table of a distribution."""
    table = tomllib.loads((ROOT / file).read_text())["project"]
    assert isinstance(table, dict)
    return table


def names(requirements: object) -> set[str]:
    """Normalised names of requirements, without versions and extras."""
    assert isinstance(requirements, list)
    found = {re.split(r"[\s\[<>=!~;]", requirement)[0] for requirement in requirements}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_nothing_names_an_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    entries = re.split(r"(?m)^(?=[a-z0-9])", text)[1:]
    assert len(entries) == len(pins(lock)) > 0
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_locks_hold_what_the_distributions_ask_for() -> None:
    sealward = project("pyproject.toml")
    extras = sealward["optional-dependencies"]
    assert isinstance(extras, dict)
    kit = names(project("devkit/pyproject.toml")["dependencies"]) - {"sealward"}
    assert names(sealward["dependencies"]) <= pinned("requirements.lock")
    # The demo is where the development kit is installed beside the product.
    assert kit <= pinned("requirements.lock") | pinned("requirements-demo.lock")
    assert names(extras["demo"]) <= pinned("requirements-demo.lock")
    assert names(extras["dev"]) - {"sealward"} <= pinned("requirements-dev.lock")


def test_the_locks_agree_with_each_other() -> None:
    tested = pins("requirements-dev.lock")
    for lock in LOCKS[:2]:
        assert pins(lock) <= tested
    assert not pinned("requirements.lock") & pinned("requirements-demo.lock")


def test_both_distributions_have_one_version() -> None:
    versions = {
        re.search(r'__version__ = "([^"]+)"', (ROOT / file).read_text())
        for file in ("sealward/__init__.py", "devkit/sealward_devkit/__init__.py")
    }
    assert len({found[1] for found in versions if found}) == 1
    assert None not in versions
