"""`sealward reference files` turns what sha256sum printed into what the control plane imports."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sealward.controlplane.cli.main import main
from sealward.controlplane.domain.reference_values import MAX_DOCUMENT_VALUES
from sealward.controlplane.services import reference_documents

A, B = "0a" * 32, "0b" * 64


@dataclass(frozen=True)
class Bench:
    """A folder with one list to read and one document to write."""

    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "files.json"

    def run(self, listed: bytes | str, *options: str) -> Result:
        data = listed.encode() if isinstance(listed, str) else listed
        (self.folder / "list").write_bytes(data)
        arguments = ("reference", "files", str(self.folder / "list"), "--name", "image-1")
        return CliRunner().invoke(main, (*arguments, "-o", str(self.output), *options))

    def ok(self, listed: bytes | str) -> list[tuple[str, str]]:
        """The keys and names in the document, which the control plane reads."""
        result = self.run(listed)
        assert result.exit_code == 0, result.output
        written = self.output.read_bytes()
        read = reference_documents.read(written)
        assert (read.name, read.not_after) == ("image-1", None)
        items: list[dict[str, Any]] = json.loads(written)["values"]  # noqa: TID251 - our own output
        assert {item["kind"] for item in items} == {"file"}
        return [(item["key"], item["value"]["name"]) for item in items]

    def refused(self, listed: bytes | str) -> str:
        result = self.run(listed)
        assert result.exit_code == 1, result.output
        assert not self.output.exists()
        return result.output


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("program", ["sha256sum", "sha384sum", "sha512sum"])
@pytest.mark.parametrize("options", [(), ("-b",)])
def test_what_coreutils_print_is_read(bench: Bench, program: str, options: tuple[str, ...]) -> None:
    names = ["agent", "with two  spaces", "a\nnew line", "back\\slash", "grün", "x\x85\u2028y"]
    for name in names:
        (bench.folder / name).write_text(name)
    command = [program, *options, *names]
    listed = subprocess.run(command, cwd=bench.folder, capture_output=True, check=True).stdout
    found = bench.ok(listed)
    algorithm = program.removesuffix("sum")
    assert [key for key, _ in found] == [
        hashlib.new(algorithm, name.encode()).hexdigest() for name in names
    ]
    assert [name for _, name in found][:2] == names[:2]


def test_a_digest_of_several_files_is_one_value(bench: Bench) -> None:
    assert bench.ok(f"{A}  /one\n{B}  /two\n{A}  /three\n") == [(A, "/one"), (B, "/two")]


def test_names_that_are_none_of_a_document_are_made_one(bench: Bench) -> None:
    long = "/x" * 200
    listed = f"{A}  {long}\n".encode() + B.encode() + b"  /caf\xe9\x07\n"
    assert bench.ok(listed) == [(A, long[-200:]), (B, "/caf\\xe9?")]


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ("", "names 0 different files"),
        ("\n", "line 1 of"),
        (f"{A}  /one\n{A} /two\n", "line 2 of"),
        (f"{A[:-2]}  /one\n", "is no digest with its file"),
        (f"{A.upper()}  /one\n", "is no digest with its file"),
        (f"{A}  \n", "is no digest with its file"),
        (f"SHA256 (/one) = {A}\n", "sha256sum FILE"),
        (f"{'0a' * 20}  /one\n", "is no digest with its file"),
        (b"\xff\0", "is no digest with its file"),
    ],
)
def test_what_is_no_list_of_digests_is_told_by_its_line(
    bench: Bench, listed: bytes | str, told: str
) -> None:
    assert told in bench.refused(listed)


def test_a_longer_list_than_a_set_takes_is_to_be_split(bench: Bench) -> None:
    lines = [f"{n:064x}  /{n}\n" for n in range(MAX_DOCUMENT_VALUES + 1)]
    assert "split the list" in bench.refused("".join(lines))
    assert len(bench.ok("".join(lines[1:]))) == MAX_DOCUMENT_VALUES


def test_a_document_is_never_overwritten(bench: Bench) -> None:
    bench.ok(f"{A}  /one\n")
    before = bench.output.read_bytes()
    assert bench.run(f"{B}  /two\n").exit_code == 1
    assert bench.output.read_bytes() == before


def test_the_document_can_be_printed(bench: Bench) -> None:
    result = bench.run(f"{A}  /one\n", "--json")
    assert json.loads(result.output) == json.loads(bench.output.read_bytes())  # noqa: TID251 - our own output
    plain = Bench(bench.folder)
    bench.output.unlink()
    assert "1" in plain.run(f"{A}  /one\n").output
