"""The production distribution neither contains nor reaches the development kit (F29)."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import sealward

PRODUCTION = Path(sealward.__file__).parent
REPOSITORY = PRODUCTION.parent
SOURCES = sorted(PRODUCTION.rglob("*.py"))

# Modules of the kit that write evidence formats, and what they may never take from the verifier:
# a layout shared with the reader would make every test of the reader agree with itself.
KIT = REPOSITORY / "devkit" / "sealward_devkit"
ROOMS = ("dcap", "nitro", "nvidia", "pki", "snp", "tpm")
MINTER = sorted(path for room in ROOMS for path in (KIT / room).glob("*.py"))


# MakeCredential needs a key that lives for one ECDH and signs nothing.
AGREES_ON_SECRETS = {"verifier/formats/tpm/credential.py"}


def imports_of(source: Path) -> set[str]:
    """Dotted names imported anywhere in a file, inside functions and TYPE_CHECKING too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def texts_of(source: Path) -> set[str]:
    """String constants that code can use: all but those that stand alone, as docstrings do."""
    tree = ast.parse(source.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
    }


def test_the_searches_below_look_at_something() -> None:
    assert len(SOURCES) > 10
    assert {path.parent.name for path in MINTER} == set(ROOMS)
    assert "sealward_devkit.snp.products.Product" in imports_of(KIT / "snp" / "report.py")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PRODUCTION)))
def test_no_production_module_imports_the_devkit_statically_or_by_name(source: Path) -> None:
    assert not {name for name in imports_of(source) | texts_of(source) if "sealward_devkit" in name}


@pytest.mark.parametrize(
    "source",
    [path for path in SOURCES if "formats" in path.parts or "pki" in path.parts],
    ids=lambda path: str(path.relative_to(PRODUCTION)),
)
def test_no_evidence_format_can_sign(source: Path) -> None:
    """Readers of evidence hold no private keys: they neither make, load, nor sign with one."""
    text = source.read_text()
    if source.relative_to(PRODUCTION).as_posix() in AGREES_ON_SECRETS:
        assert ".exchange(" in text
    else:
        assert not re.search(r"generate_private_key|derive_private_key|load_\w+_private_key", text)
    assert not re.search(r"\bPrivateKey\b|PrivateKey\w*\(|\.sign\(|CertificateBuilder", text)


@pytest.mark.parametrize("source", MINTER, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_minter_takes_nothing_from_the_verifier(source: Path) -> None:
    assert not {name for name in imports_of(source) if name.split(".")[0] == "sealward"}


def test_the_production_wheel_packs_only_the_production_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["sealward"]
    declared = project["project"]["dependencies"], project["project"]["optional-dependencies"]
    assert "devkit" not in str(declared)
    attesters = project["project"]["entry-points"]["sealward.attesters"]
    assert "software" not in attesters
    assert all(value.startswith("sealward.enclave_agent.") for value in attesters.values())


def test_the_kit_offers_the_attester_under_the_name_the_agent_loads() -> None:
    kit = tomllib.loads((REPOSITORY / "devkit" / "pyproject.toml").read_text())
    entry_points = kit["project"]["entry-points"]["sealward.attesters"]
    assert entry_points == {"software": "sealward_devkit.attester:from_settings"}
