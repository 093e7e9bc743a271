"""`sealward reference pcr` reads what tpm2-tools write about a real TPM."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from fakes import swtpm

from sealward.controlplane.cli.main import main
from sealward.controlplane.services import reference_documents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.swtpm import Swtpm

pytestmark = pytest.mark.integration

SELECTION = "sha256:0,1,2,3,4,5,6,7,9,14"
REGISTERS = (*range(8), 9, 14)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    with swtpm.fresh(tmp_path_factory.mktemp("swtpm")) as running:
        for index in REGISTERS:
            running.extend(index, hashlib.sha256(b"what firmware measures").digest())
        yield running


def document(machine: Swtpm, folder: Path, *options: str) -> dict[str, Any]:
    output = folder / "golden.json"
    file = str(machine.folder / "registers")
    arguments = ("reference", "pcr", file, "--name", "golden", "-o", str(output), *options)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    reference_documents.read(output.read_bytes())
    found: dict[str, Any] = json.loads(output.read_bytes())  # noqa: TID251 - our own output
    return found


def expected() -> list[str]:
    value = hashlib.sha256(bytes(32) + hashlib.sha256(b"what firmware measures").digest())
    return [f"sha256/{index}/{value.hexdigest()}" for index in REGISTERS]


def test_bare_values_of_tpm2_pcrread(machine: Swtpm, tmp_path: Path) -> None:
    machine.tool("tpm2_pcrread", SELECTION, "-o", "registers")
    found = document(machine, tmp_path, "--pcrs", SELECTION, "--component", "9=agent")
    assert [item["key"] for item in found["values"]] == expected()
    assert found["values"][8]["value"]["components"] == ["agent"]


def test_the_order_of_a_selection_does_not_matter(machine: Swtpm, tmp_path: Path) -> None:
    backwards = "sha256:14,9,7,6,5,4,3,2,1,0"
    machine.tool("tpm2_pcrread", backwards, "-o", "registers")
    found = document(machine, tmp_path, "--pcrs", backwards)
    assert [item["key"] for item in found["values"]] == expected()


def test_the_pcr_file_of_tpm2_quote(machine: Swtpm, tmp_path: Path) -> None:
    machine.tool("tpm2_createek", "-c", "ek.ctx", "-G", "ecc")
    machine.tool("tpm2_flushcontext", "-t")
    machine.tool("tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", "ecc", "-s", "ecdsa")
    machine.tool("tpm2_flushcontext", "-t")
    quote = ("-l", SELECTION, "-m", "quote", "-s", "signature", "-o", "registers")
    machine.tool("tpm2_quote", "-c", "ak.ctx", *quote)
    found = document(machine, tmp_path)
    assert [item["key"] for item in found["values"]] == expected()
