"""The command groups of TDX, SGX and Nitro: what they write is what the kit and others read."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import dcap_qvl
import pytest
from click.testing import CliRunner
from sealward_devkit.cli import main
from sealward_devkit.dcap import boot
from sealward_devkit.dcap import directories as dcap_directories
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.nitro import directories as nitro_directories
from sealward_devkit.nitro import image

from sealward.controlplane.services import reference_documents


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> dict:
    done = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)  # noqa: TID251 - our own answer


def fails(*arguments: str) -> str:
    done = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert done.exit_code == 1
    return done.output


def test_a_machine_its_collateral_and_a_quote_belong_together(here: Path) -> None:
    run("dcap", "root", "root", "--days", "2")
    made = run("dcap", "platform", "--root", "root", "machine")
    assert made["platform_id"] == dcap_directories.load_platform(here / "machine").platform_id
    run("dcap", "collateral", "tdx.json", "--root", "root")
    data = "ab" * 64
    run("dcap", "quote", "quote.bin", "--platform", "machine", "--report-data", data)
    parsed = dcap_qvl.parse_quote((here / "quote.bin").read_bytes())
    assert parsed.report.report_data.hex() == data
    assert parsed.report.mr_td == boot.mr_td()
    bundle = dcap_qvl.QuoteCollateralV3.from_json((here / "tdx.json").read_text())
    told = json.loads(bundle.tcb_info)  # noqa: TID251 - our own text
    assert told["fmspc"].lower() == made["fmspc"] == parsed.fmspc().lower()
    run(
        *("dcap", "quote", "sgx.bin", "--platform", "machine"),
        *("--report-data", data, "--shape", "sgx-3"),
    )
    assert dcap_qvl.parse_quote((here / "sgx.bin").read_bytes()).is_sgx()


def test_a_second_generation_has_a_level_above(here: Path) -> None:
    run("dcap", "root", "root")
    run(
        *("dcap", "collateral", "second.json", "--root", "root", "--status", "OutOfDate"),
        *("--advisory", "INTEL-SA-09999", "--evaluation-number", "21", "--days", "3"),
        *("--issued", "2026-11-24T00:00:00Z"),
    )
    bundle = dcap_qvl.QuoteCollateralV3.from_json((here / "second.json").read_text())
    told = json.loads(bundle.tcb_info)  # noqa: TID251 - our own text
    assert (told["issueDate"], told["nextUpdate"]) == (
        "2026-11-24T00:00:00Z",
        "2026-11-27T00:00:00Z",
    )
    assert told["tcbEvaluationDataNumber"] == 21
    above, judged, *_ = told["tcbLevels"]
    assert above["tcbStatus"] == "UpToDate"
    assert (judged["tcbStatus"], judged["advisoryIDs"]) == ("OutOfDate", ["INTEL-SA-09999"])


def test_a_boot_has_registers_and_the_log_of_them(here: Path) -> None:
    told = run("dcap", "boot", "agent", "ccel.bin")
    assert [told[f"rtmr{number}"] for number in range(4)] == [
        value.hex() for value in boot.registers("agent")
    ]
    assert (here / "ccel.bin").read_bytes() == boot.ccel("agent")
    other = run("dcap", "boot", "another", "ccel.bin")
    assert told["mr_td"] == other["mr_td"]
    assert {name for name in told if told[name] != other[name]} == {"rtmr1", "rtmr2"}


def test_a_nitro_instance_makes_documents_of_its_images(here: Path) -> None:
    run("nitro", "root", "root")
    made = run("nitro", "platform", "--root", "root", "machine")
    parent = nitro_directories.load_instance(here / "machine")
    assert made["platform_id"] == parent.platform_id == f"nitro:instance:{parent.instance_id}"
    (here / "trust.json").write_text("{}")
    told = run("nitro", "image", "agent", "--trust", "trust.json")
    assert told == {f"pcr{at}": it.hex() for at, it in image.measure("agent", b"{}").items()}
    written = run(
        *("nitro", "document", "doc.bin", "--platform", "machine", "--image", "agent"),
        *("--trust", "trust.json", "--user-data", "cd" * 64),
    )
    content = (here / "doc.bin").read_bytes()
    assert bytes.fromhex("cd" * 64) in content
    assert bytes.fromhex(told["pcr0"]) in content
    assert written["module_id"].startswith(parent.instance_id + "-enc")


def test_a_reference_set_describes_one_launch_whole(here: Path) -> None:
    (here / "trust.json").write_text("{}")
    tdx = run("dcap", "reference", "agent")
    booted = run("dcap", "boot", "agent", "ccel.bin")
    registers = {"mrtd": booted["mr_td"], **{f"rtmr{n}": booted[f"rtmr{n}"] for n in range(4)}}
    assert [value["key"] for value in tdx["values"]] == [
        f"tdx/{name}/{digest}" for name, digest in registers.items()
    ]
    nitro = run("nitro", "reference", "agent", "--trust", "trust.json", "--name", "other")
    measured = run("nitro", "image", "agent", "--trust", "trust.json")
    assert [value["key"] for value in nitro["values"]] == [
        f"nitro/{name}/{digest}" for name, digest in measured.items()
    ]
    assert (tdx["name"], nitro["name"]) == ("agent", "other")
    for described in (tdx, nitro):
        read = reference_documents.read(json.dumps(described).encode())
        components = {
            component
            for value in read.values
            for component in json.loads(value.value)["components"]  # noqa: TID251 - our own text
        }
        assert components == {"firmware", "kernel", "cmdline", "rootfs", "agent"}


def test_keys_are_the_owners_alone_and_no_root_key_is_written(here: Path) -> None:
    run("dcap", "root", "dcap")
    run("dcap", "platform", "--root", "dcap", "machine")
    run("nitro", "root", "nitro")
    run("nitro", "platform", "--root", "nitro", "instance")
    for name in ("dcap", "machine", "nitro", "instance"):
        assert stat.S_IMODE((here / name).stat().st_mode) == 0o700
        for path in (here / name).iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = {path.name for path in here.glob("*/*.key")}
    assert keys == {"platform-ca.key", "tcb-signing.key", "pck.key", "zonal.key", "instance.key"}


@pytest.mark.parametrize("kind", ["dcap", "nitro"])
def test_nothing_is_overwritten_and_what_is_missing_is_said(here: Path, kind: str) -> None:
    run(kind, "root", "root")
    assert "is not empty" in fails(kind, "root", "root")
    (here / "empty").mkdir()
    assert "cannot read" in fails(kind, "platform", "--root", "empty", "machine")
    assert "is not empty" in fails(kind, "platform", "--root", "root", "root")


@pytest.mark.parametrize(
    "line", ['fmspc = "00"', 'fmspc = "zz"', "svns = [300]", "svns = [1, 2]", 'pce_svn = "x"', ""]
)
def test_a_platform_file_that_is_none_is_refused(here: Path, line: str) -> None:
    run("dcap", "root", "root")
    run("dcap", "platform", "--root", "root", "machine")
    path = here / "machine/platform.toml"
    name = line.partition(" ")[0] or "ppid"
    kept = [old for old in path.read_text().splitlines() if not old.startswith(f"{name} ")]
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(DevelopmentFilesError, match="does not describe a platform"):
        dcap_directories.load_platform(here / "machine")


def test_a_bundle_of_another_length_is_refused(here: Path) -> None:
    run("nitro", "root", "root")
    run("nitro", "platform", "--root", "root", "machine")
    path = here / "machine/cabundle.pem"
    path.write_text(path.read_text().split("-----END CERTIFICATE-----\n", 1)[1])
    with pytest.raises(DevelopmentFilesError, match="four certificates"):
        nitro_directories.load_instance(here / "machine")
