"""Every import contract of pyproject.toml fails when it is broken: one that cannot fail is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SNP = "sealward/verifier/formats/snp"

# Contract -> the file that breaks it, and the import that does. A file that does not exist is made.
BREAKS = {
    "processes": ("sealward/enclave_agent/leases.py", "sealward.controlplane.domain.leases"),
    "controlplane": ("sealward/controlplane/domain/errors.py", "sealward.controlplane.services"),
    "commands": ("sealward/controlplane/cli/node.py", "sealward.controlplane.services.nodes"),
    "verifier": ("sealward/verifier/pki/chain.py", "sealward.verifier.registry"),
    "formats": ("sealward/verifier/formats/other.py", "sealward.verifier.formats.snp.report"),
    "pure-verifier": ("sealward/verifier/rats/claims.py", "time"),
    "pure-sealing": ("sealward/sealing/header.py", "socket"),
    "no-frameworks": ("sealward/controlplane/services/nodes.py", "fastapi"),
    "pure-domain": ("sealward/controlplane/domain/horizon.py", "time"),
    "sqlalchemy": ("sealward/controlplane/services/ports.py", "sqlalchemy"),
    "engines": ("sealward/enclave_agent/inference/loader.py", "onnxruntime"),
    "small-agent": ("sealward/enclave_agent/evidence.py", "sealward.verifier.formats.snp.report"),
    "agent": ("sealward/enclave_agent/inference/gate.py", "sealward.enclave_agent.holdings"),
    "attesters": (
        "sealward/enclave_agent/attesters/nsm.py",
        "sealward.enclave_agent.attesters.tpm.nv",
    ),
    "no-devkit": ("sealward/enclave_agent/attesters/registry.py", "sealward_devkit.attester"),
    "minter": ("sealward_devkit/snp/report.py", "sealward.verifier.wire.reader"),
    "devkit": ("sealward_devkit/attester.py", "sealward.verifier.registry"),
    "demo": ("sealward_devkit/demo/story.py", "sealward.controlplane.domain.errors"),
    "acyclic": ("sealward/sealing/fields.py", "sealward.sealing.container"),
}


def lint(house: Path, contract: str) -> subprocess.CompletedProcess[str]:
    """Check one contract of the copy in `house`."""
    linter = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [linter, "--no-logo", "--contract", contract],
        cwd=house,
        env=os.environ | {"PYTHONPATH": str(house), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of both distributions and their contracts."""
    folder = tmp_path_factory.mktemp("house")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "sealward", folder / "sealward", ignore=ignore)
    shutil.copytree(ROOT / "devkit/sealward_devkit", folder / "sealward_devkit", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_every_contract_is_broken_here_once() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    assert {contract["id"] for contract in contracts} == set(BREAKS)


@pytest.mark.parametrize("contract", BREAKS)
def test_a_broken_contract_fails_and_names_the_import(house: Path, contract: str) -> None:
    name, imported = BREAKS[contract]
    source = house / name
    before = source.read_text() if source.exists() else None
    assert before is None or f"import {imported}\n" not in before

    source.write_text(f"{before or ''}\nimport {imported}\n")
    try:
        broken = lint(house, contract)
    finally:
        if before is None:
            source.unlink()
        else:
            source.write_text(before)

    assert broken.returncode == 1, broken.stdout + broken.stderr
    assert "BROKEN" in broken.stdout
    edge = f"{Path(name).stem} -> "
    named = [line for line in broken.stdout.splitlines() if edge in line]
    assert any(imported.rpartition(".")[2] in line for line in named), broken.stdout
