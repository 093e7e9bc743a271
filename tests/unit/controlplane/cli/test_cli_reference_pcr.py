"""`sealward reference pcr` writes what the control plane imports, or says why not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes.software_tpm import NOW
from fakes.tpm_machines import Machine, tpm_record

from sealward.controlplane.cli.main import main
from sealward.controlplane.services import reference_documents
from sealward.verifier.rats import evidence as envelopes

BOOT = "sha256:0,1,2,3,4,5,6,7,8"
MACHINE = Machine()
VALUES = MACHINE.pcrs["sha256"]
BARE = b"".join(VALUES[index] for index in sorted(VALUES))
COVERS = (
    "--component=0=firmware",
    "--component=4=kernel",
    "--component=8=agent",
    "--component=8=rootfs",
    "--component=8=cmdline",
    "--trust-config=8",
)


@dataclass(frozen=True)
class Bench:
    """A folder with one file to read and one to write."""

    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "golden.json"

    def run(self, data: bytes, *options: str) -> Result:
        (self.folder / "registers").write_bytes(data)
        arguments = ("reference", "pcr", str(self.folder / "registers"), "--name", "golden-1")
        return CliRunner().invoke(main, (*arguments, "-o", str(self.output), *options))

    def ok(self, data: bytes, *options: str) -> dict[str, Any]:
        result = self.run(data, *options)
        assert result.exit_code == 0, result.output
        written = self.output.read_bytes()
        reference_documents.read(written)
        document: dict[str, Any] = json.loads(written)  # noqa: TID251 - our own output
        return document

    def refused(self, data: bytes, *options: str, status: int = 1) -> str:
        result = self.run(data, *options)
        assert result.exit_code == status, result.output
        assert isinstance(result.exception, SystemExit)
        assert not self.output.exists()
        return result.output


class TwoBanks(Machine):
    """A machine that quotes SHA-1 beside SHA-256."""

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        return {"sha1": {0: b"\1" * 20}, **super().pcrs}


class TwoStrongBanks(Machine):
    """A machine that quotes SHA-384 beside SHA-256."""

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        return {**super().pcrs, "sha384": {0: b"\1" * 48}}


class Measuring(Machine):
    """A machine whose kernel measures files."""

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        return {"sha256": {**super().pcrs["sha256"], 10: b"\1" * 32}}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def envelope() -> bytes:
    return tpm_record(MACHINE, bytes(32), made=NOW)


def quote_file() -> bytes:
    """The file of `tpm2_quote -o` with these registers."""
    digests = [VALUES[index] for index in sorted(VALUES)]
    selection = (0xB).to_bytes(2, "little") + b"\x04" + (0x1FF).to_bytes(4, "little") + b"\0"
    data = (1).to_bytes(4, "little") + selection + bytes(15 * 8) + (2).to_bytes(4, "little")
    for some in (digests[:8], digests[8:]):
        data += len(some).to_bytes(4, "little")
        data += b"".join(b"\x20\x00" + one.ljust(64, b"\0") for one in some)
        data += bytes((8 - len(some)) * 66)
    return data


def test_every_form_of_the_same_registers_is_the_same_document(bench: Bench) -> None:
    made = []
    for data, options in ((BARE, ("--pcrs", BOOT)), (quote_file(), ()), (envelope(), ())):
        made.append(bench.ok(data, *options, *COVERS))
        bench.output.unlink()
    assert made[0] == made[1] == made[2]
    assert made[0]["values"][8] == {
        "kind": "pcr",
        "key": f"sha256/8/{VALUES[8].hex()}",
        "value": {
            "name": "golden-1, PCR 8",
            "components": ["cmdline", "rootfs", "agent"],
            "trust_config": "image",
        },
    }
    assert [one["value"]["components"] for one in made[0]["values"][:5]] == [
        ["firmware"], [], [], [], ["kernel"],
    ]  # fmt: skip


def test_it_shows_what_it_wrote(bench: Bench) -> None:
    shown = bench.run(BARE, "--pcrs", BOOT, *COVERS).output
    assert f"sha256  8    {VALUES[8].hex()}  cmdline, rootfs, agent, trust configuration" in shown
    bench.output.unlink()
    as_json = bench.run(BARE, "--pcrs", BOOT, *COVERS, "--json").stdout
    assert json.loads(as_json) == json.loads(bench.output.read_text())  # noqa: TID251 - our own output


def test_a_document_is_never_written_over(bench: Bench) -> None:
    bench.ok(BARE, "--pcrs", BOOT)
    before = bench.output.read_bytes()
    result = bench.run(BARE, "--pcrs", BOOT, *COVERS)
    assert (result.exit_code, "golden.json exists" in result.output) == (1, True)
    assert bench.output.read_bytes() == before


def test_registers_that_nobody_wrote_are_refused(bench: Bench) -> None:
    zeros = BARE[:96] + bytes(32) + BARE[128:]
    assert "PCR 3 is all zeros" in bench.refused(zeros, "--pcrs", BOOT)
    started = bytes(31) + b"\3" + BARE[32:]
    assert "PCR 0 is the startup locality" in bench.refused(started, "--pcrs", BOOT)
    empty = BARE[:256] + bytes(32)
    assert "PCR 8 is all zeros" in bench.refused(empty, "--pcrs", BOOT, "--component=8=agent")
    assert "PCR 8 is all zeros" in bench.refused(empty, "--pcrs", BOOT, "--trust-config=8")
    bench.ok(empty, "--pcrs", BOOT, "--component=0=firmware")  # PCR 8 is nobody's duty


@pytest.mark.parametrize("index", [16, 23])
def test_registers_that_software_can_reset_are_refused(bench: Bench, index: int) -> None:
    told = bench.refused(BARE + bytes(32), "--pcrs", f"{BOOT},{index}")
    assert f"PCR {index} can be reset by software" in told


@pytest.mark.parametrize("index", range(8))
def test_what_is_not_the_whole_of_a_boot_is_refused(bench: Bench, index: int) -> None:
    selection = "sha256:" + ",".join(str(n) for n in range(9) if n != index)
    told = bench.refused(BARE[32:], "--pcrs", selection)
    assert f"is not one boot: it has no value of PCR {index}" in " ".join(told.split())


def test_evidence_of_two_banks_is_not_one_boot(bench: Bench) -> None:
    told = bench.refused(tpm_record(TwoStrongBanks(), bytes(32), made=NOW))
    assert "the banks sha256 and sha384, which are two histories" in " ".join(told.split())


def test_pcr_10_of_a_node_that_measures_files_is_left_out(bench: Bench) -> None:
    document = bench.ok(tpm_record(Measuring(), bytes(32), made=NOW))
    assert [item["key"].split("/")[1] for item in document["values"]] == list("012345678")


def test_a_bank_that_nothing_can_rest_on_is_refused(bench: Bench) -> None:
    quoted = tpm_record(TwoBanks(), bytes(32), made=NOW)
    assert "values of the bank sha1, which nothing can rest on" in bench.refused(quoted)
    selection = BOOT.replace("sha256", "sha1")
    assert "not BANK:INDEX" in bench.refused(BARE, "--pcrs", selection, status=2)


@pytest.mark.parametrize(
    "selection",
    ["", "sha256", "sha256:", "sha256:24", "sha256:-1", "sha256:0,0", "sha256:x", "md5:0",
     "sha256:0,1+sha384:0", "sha256:" + "9" * 5000],
)  # fmt: skip
def test_what_selects_no_registers_is_a_mistake_of_usage(bench: Bench, selection: str) -> None:
    bench.refused(BARE, "--pcrs", selection, status=2)


@pytest.mark.parametrize("component", ["", "0", "0=", "0=moon", "=kernel", "32=kernel", "x=kernel"])
def test_what_names_no_component_is_a_mistake_of_usage(bench: Bench, component: str) -> None:
    bench.refused(BARE, "--pcrs", BOOT, "--component", component, status=2)


@pytest.mark.parametrize("option", ["--component=9=kernel", "--trust-config=9"])
def test_what_is_said_of_a_register_that_is_not_there_is_refused(bench: Bench, option: str) -> None:
    assert "has no PCR 9" in bench.refused(BARE, "--pcrs", BOOT, option)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", BARE, BARE[:-1], quote_file()[:-1], b"\x82", envelope()[:-1], b"-----BEGIN X"],
    ids=["empty", "zero", "bare", "short", "cut file", "start", "cut envelope", "pem"],
)
def test_what_does_not_say_what_it_is_is_refused_with_the_way_out(
    bench: Bench, data: bytes
) -> None:
    assert "--pcrs" in bench.refused(data)


def test_evidence_of_another_kind_is_refused(bench: Bench) -> None:
    other = envelopes.encode(envelopes.Record(envelopes.SNP_EVIDENCE, b"\xa0"))
    bench.refused(other)


def test_bare_values_of_another_size_are_refused(bench: Bench) -> None:
    for data in (BARE[:-1], BARE + b"\0", b""):
        bench.refused(data, "--pcrs", BOOT)
