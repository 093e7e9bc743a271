"""`sealward verify`: exit codes, sentences and hints; never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes import snp_fixtures, snp_vectors

from sealward.controlplane.cli.verify import verify

AT = ["--at", snp_fixtures.NOW.isoformat()]
DATA = b"a nonce"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    minted = snp_fixtures.mint(report_data=DATA.ljust(64, b"\0"), policy=0x3_0000 | 1 << 19)
    parts = {
        "report": minted.report,
        "vek": minted.vek,
        "intermediate": minted.intermediate,
        "root": minted.root,
    }
    for name, data in parts.items():
        (tmp_path / name).write_bytes(data)
    return {name: str(tmp_path / name) for name in parts}


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(verify, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def evidence(files: dict[str, str]) -> list[str]:
    return [files["report"], files["vek"], files["intermediate"]]


def test_evidence_under_an_imported_development_root_verifies_and_says_so(
    files: dict[str, str],
) -> None:
    result = run(*AT, "--development-root", files["root"], *evidence(files))
    assert result.exit_code == 0
    first = result.output.splitlines()[0]
    assert first == (
        "verified at 2026-11-23T12:00:00Z: the report is genuine under a DEVELOPMENT root"
    )
    assert "but development_root: development is true, not false" in result.output
    assert "but debug_enabled" in result.output
    assert "claims.product" in result.output
    assert "report.measurement" in result.output


def test_without_the_import_the_same_evidence_is_refused(files: dict[str, str]) -> None:
    result = run(*AT, *evidence(files), files["root"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "refused (root_not_pinned)" in result.stderr
    assert "hint:" in result.stderr


def test_the_answer_and_the_refusal_are_json_when_asked(files: dict[str, str]) -> None:
    good = run(*AT, "--json", "--development-root", files["root"], *evidence(files))
    document = json.loads(good.stdout)  # noqa: TID251 - our own output
    assert document["verified"] is True
    assert document["claims"]["development"] is True
    bad = run(*AT, "--json", *evidence(files), files["root"])
    assert bad.exit_code == 1
    document = json.loads(bad.stdout)  # noqa: TID251 - our own output
    assert document["verified"] is False
    assert document["error"]["code"] == "root_not_pinned"


@pytest.mark.parametrize("option", ["--report-data", "--nonce"])
def test_the_demanded_report_data_decides(files: dict[str, str], option: str) -> None:
    base = [*AT, "--development-root", files["root"], *evidence(files)]
    assert run(option, DATA.hex(), *base).exit_code == 0
    other = run(option, b"another".hex(), *base)
    assert other.exit_code == 1
    assert "binding_mismatch" in other.stderr


def test_no_file_name_drives_the_terminal(files: dict[str, str], tmp_path: Path) -> None:
    hostile = tmp_path / "\x1b]0;owned\x07"
    for content in (b"", b"no evidence", b"\x00" * 2000, Path(files["report"]).read_bytes()[:-1]):
        hostile.write_bytes(content)
        for extra in ((), ("--json",)):
            result = run(*AT, *extra, str(hostile))
            assert result.exit_code == 1
            assert all(line.isprintable() for line in result.output.split("\n"))


@pytest.mark.parametrize("missing", ["report", "vek", "intermediate"])
def test_a_missing_piece_is_refused_with_a_hint(files: dict[str, str], missing: str) -> None:
    given = [files[name] for name in ("report", "vek", "intermediate") if name != missing]
    result = run(*AT, "--development-root", files["root"], *given)
    assert result.exit_code == 1
    assert "hint:" in result.stderr


def test_another_instant_is_refused(files: dict[str, str]) -> None:
    result = run("--at", "2030-01-01T00:00:00Z", *evidence(files), files["root"])
    assert result.exit_code == 1
    result = run(
        "--at", "2030-01-01T00:00:00Z", "--development-root", files["root"], *evidence(files)
    )
    assert result.exit_code == 1
    assert "certificate_expired" in result.stderr


def test_now_is_the_instant_when_none_is_given(vectors_dir: Path) -> None:
    """A provider's key that expired in 2025 verifies at its time and not today."""
    vector = next(
        item for item in snp_vectors.load(vectors_dir) if item.window[1] < snp_fixtures.NOW
    )
    paths = [str(path) for path in vector.paths]
    assert run("--at", vector.verify_at.isoformat(), *paths).exit_code == 0
    result = run(*paths)
    assert result.exit_code == 1
    assert "certificate_expired" in result.stderr


def test_a_file_that_is_something_else_is_named(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "cut.der").write_bytes(Path(files["vek"]).read_bytes()[:-1])
    (tmp_path / "huge").write_bytes(b"0" + bytes(1 << 20))
    for name, code in (
        ("notes.txt", "unsupported_format"),
        ("cut.der", "malformed"),
        ("huge", "malformed"),
    ):
        result = run(*AT, *evidence(files), str(tmp_path / name))
        assert result.exit_code == 1
        assert f"refused ({code}): {name}: " in result.stderr


def test_a_file_that_cannot_be_read_is_no_traceback() -> None:
    # Exists and may be opened, but reading it from its start is an error of the system.
    result = run("/proc/self/mem")
    assert result.exit_code == 2
    assert "/proc/self/mem" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no-such-file"],
        ["--at", "yesterday", "FILE"],
        ["--at", "2026-11-23T00:00:00", "FILE"],
        ["--at", "0001-01-01T00:00:00+23:00", "FILE"],
        ["--nonce", "xyz", "FILE"],
        ["--nonce", "", "FILE"],
        ["--nonce", "00" * 65, "FILE"],
        ["--unknown", "FILE"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_another_exit_code(
    files: dict[str, str], arguments: list[str]
) -> None:
    given = [files["report"] if argument == "FILE" else argument for argument in arguments]
    assert run(*given).exit_code == 2
