"""The `sealward-devkit` command, as a user drives it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from fakes import snp_fixtures
from sealward_devkit.cli import main
from sealward_devkit.directories import load_platform, save_platform
from sealward_devkit.snp.report import SigningKey, development_measurement

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(item) for item in arguments])


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)  # noqa: TID251 - our own command's output
    assert isinstance(value, dict)
    return value


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root made by the command itself."""
    directory = tmp_path_factory.mktemp("cli") / "root"
    result = answer(run("root", "create", directory, "--product", "Milan", "--days", "1", "--json"))
    assert result["anchors"] == str(directory / "anchors.pem")
    return directory


def test_a_platform_prints_the_identity_an_administrator_allows(root: Path, tmp_path: Path) -> None:
    result = run("platform", "create", "--root", root, "--product", "Milan", tmp_path / "chip")
    assert result.exit_code == 0, result.output
    made = load_platform(tmp_path / "chip")
    assert result.stdout == f"snp:chip:{made.chip_id.hex()}\n"


def test_two_platforms_of_one_root_are_two_chips(root: Path, tmp_path: Path) -> None:
    first = answer(run("platform", "create", "--root", root, tmp_path / "a", "--json"))
    second = answer(run("platform", "create", "--root", root, tmp_path / "b", "--json"))
    assert first["platform_id"] != second["platform_id"]


def test_a_provider_platform_has_no_chip_identity(root: Path, tmp_path: Path) -> None:
    result = answer(
        run("platform", "create", "--root", root, "--csp-id", "CN=x", tmp_path / "c", "--json")
    )
    assert result["platform_id"] is None
    assert load_platform(tmp_path / "c").signing_key is SigningKey.VLEK


def test_a_measurement_is_that_of_its_name() -> None:
    assert run("measurement", "agent").stdout.strip() == development_measurement("agent").hex()
    assert answer(run("measurement", "agent", "--json"))["name"] == "agent"


def test_a_minted_report_carries_what_was_asked(tmp_path: Path) -> None:
    save_platform(snp_fixtures.platform(), tmp_path / "chip")
    out = tmp_path / "report.bin"
    result = answer(
        run(
            *("report", "mint", out, "--platform", tmp_path / "chip", "--json"),
            *("--measurement", "ab" * 48, "--report-data", "cd" * 64, "--host-data", "ef" * 32),
            *("--policy", str(0x30000 | 1 << 19), "--report-version", "3"),
        )
    )
    report = out.read_bytes()
    assert (len(report), report[0]) == (0x4A0, 3)
    assert report[0x08:0x10].hex() == "00000b0000000000"
    assert report[0x50:0x90].hex() == "cd" * 64
    assert report[0x90:0xC0].hex() == "ab" * 48
    assert report[0xC0:0xE0].hex() == "ef" * 32
    assert report[0x140:0x160].hex() == result["report_id"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("root", "create", "{tmp}/used"), "is not empty"),
        (("root", "create", "{tmp}/new", "--days", "8"), "not in the range 1<=x<=7"),
        (("platform", "create", "--root", "{tmp}/used", "{tmp}/p"), "cannot read"),
        (("platform", "create", "--root", "{tmp}/nowhere", "{tmp}/p"), "does not exist"),
        (
            ("report", "mint", "{tmp}/r", "--platform", "{tmp}/used", "--measurement", "00"),
            "96 hex digits",
        ),
        (
            ("report", "mint", "{tmp}/r", "--platform", "{tmp}/used", "--measurement", "xyz"),
            "96 hex digits",
        ),
        (
            (
                *("report", "mint", "{tmp}/r", "--platform", "{tmp}/used"),
                *("--measurement", "00" * 48, "--report-data", "00" * 64),
            ),
            "cannot read",
        ),
    ],
)
def test_a_wrong_request_is_one_sentence_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    if arguments[:2] == ("root", "create"):
        arguments = (*arguments, "--product", "Milan")
    result = run(*(item.replace("{tmp}", str(tmp_path)) for item in arguments))
    assert result.exit_code in {1, 2}
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "used"]


def test_an_unwritable_report_is_one_sentence(tmp_path: Path) -> None:
    save_platform(snp_fixtures.platform(), tmp_path / "chip")
    result = run(
        *("report", "mint", tmp_path / "no" / "r.bin", "--platform", tmp_path / "chip"),
        *("--measurement", "00" * 48, "--report-data", "00" * 64),
    )
    assert (result.exit_code, "cannot write" in result.stderr) == (1, True)
