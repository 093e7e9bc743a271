"""Run every benchmark of this folder and write docs/benchmarks.md.

A benchmark is a file that can be run; with `--json` it prints one document on standard output
(benchmarks/README.md says which), and whatever else it has to say on standard error. One that
fails, or prints something else, fails the whole run: no page is written with a part missing.

    python benchmarks/report.py [--output FILE] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
PAGE: Final = ROOT / "docs" / "benchmarks.md"
VECTORS: Final = ROOT.parent / "shared" / "vectors"

# The order of the page; whatever else there is comes after it, by name.
ORDER: Final = (
    "snp",
    "tpm",
    "formats",
    "tpm_enrollment",
    "policy",
    "roundtrip",
    "revocation",
    "sealing",
    "inference",
)
LIBRARIES: Final = (
    "cryptography",
    "dcap-qvl",
    "gordon-to-regorus",
    "grpcio",
    "onnxruntime",
    "sqlalchemy",
    "uvicorn",
)
_TIMEOUT_S: Final = 1800.0  # for one benchmark; the longest makes a hundred revocations
_DIGITS: Final = 4  # significant ones: nothing here repeats better than to a percent
_MILLION: Final = 1e6


class WrongDocument(Exception):
    """A benchmark printed something else than the document of benchmarks/README.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table; see benchmarks/README.md."""

    label: str
    median: float
    p99: float | None = None
    per_second: float | None = None
    ratio_to: str | None = None
    ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What one benchmark found."""

    name: str
    what: str
    unit: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def read_document(text: str) -> Document:
    """Read what a benchmark printed.

    Raises:
        WrongDocument: it is not the agreed document.
    """
    try:
        value: dict[str, Any] = json.loads(text)  # noqa: TID251 - our own programs' answer
        rows = tuple(Row(**row) for row in value.pop("rows"))
        document = Document(rows=rows, notes=tuple(value.pop("notes", ())), **value)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WrongDocument(f"{type(error).__name__}: {error}") from error
    labels = [row.label for row in rows]
    if not rows or len(set(labels)) != len(labels):
        raise WrongDocument("rows are missing, or two have one label")
    for row in rows:
        if (row.ratio is None) != (row.ratio_to is None):
            raise WrongDocument(f"{row.label}: ratio and ratio_to go together")
        if row.ratio_to is not None and row.ratio_to not in labels:
            raise WrongDocument(f"{row.label}: its baseline is no row: {row.ratio_to}")
    return document


def table(document: Document) -> Iterator[str]:
    """Return the lines of one section of the page; columns that nobody fills are left out."""
    rows = document.rows
    columns: list[tuple[str, list[str]]] = [
        ("", [row.label for row in rows]),
        (f"median, {document.unit}", [_number(row.median) for row in rows]),
        (f"p99, {document.unit}", [_number(row.p99) for row in rows]),
        ("per second", [_number(row.per_second) for row in rows]),
        ("ratio", [f"{_number(r.ratio)} x {r.ratio_to}" if r.ratio_to else "" for r in rows]),
    ]
    used = [(head, cells) for head, cells in columns if any(cells)]
    yield f"## {document.name}"
    yield ""
    yield document.what
    yield ""
    yield "| " + " | ".join(head for head, _ in used) + " |"
    yield "|" + "|".join("---" if not head else "---:" for head, _ in used) + "|"
    for cells in zip(*(cells for _, cells in used), strict=True):
        yield "| " + " | ".join(cells) + " |"
    for note in document.notes:
        yield ""
        yield note


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int) or value.is_integer() or abs(value) >= 10 ** (_DIGITS - 1):
        return f"{value:,.0f}"
    return f"{value:.{_DIGITS}g}" if abs(value) >= 1 else f"{value:.3g}"


def page(documents: list[Document], *, machine: list[tuple[str, str]]) -> str:
    """Return the whole page."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; do not edit. Figures are medians of one run on one machine;",
        "ratios are to a baseline of the same run, interleaved with it. How each is measured",
        "stands at the top of its program in `benchmarks/`, with the code of the baselines.",
        "",
        "| machine | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in machine),
    ]
    for document in documents:
        lines += ["", *table(document)]
    return "\n".join(lines) + "\n"


def machine_facts(now: datetime) -> list[tuple[str, str]]:
    """Return what a reader has to know of this machine, and nothing that names it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0))
    return [
        ("date", f"{now:%Y-%m-%d}"),
        ("processor", f"{_processor()}, {platform.machine()}, {cores} cores"),
        ("memory", f"{memory / 2**30:.1f} GiB"),
        ("kernel", f"{platform.system()} {platform.release().split('-')[0]}"),
        ("Python", platform.python_version()),
        ("libraries", ", ".join(f"{name} {version(name)}" for name in LIBRARIES)),
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.processor() or "unknown"


def benchmarks(chosen: list[str]) -> list[Path]:
    """Return the programs to run, in the order of the page."""
    programs = {
        path.stem: path
        for path in HERE.glob("*.py")
        if path.stem != "report" and "__name__ ==" in path.read_text()
    }
    unknown = set(chosen) - set(programs)
    if unknown:
        raise SystemExit(f"no such benchmark: {', '.join(sorted(unknown))}")
    known = [name for name in ORDER if name in programs]
    names = known + sorted(set(programs) - set(known))
    return [programs[name] for name in names if not chosen or name in chosen]


def run(program: Path) -> Document:
    """Run one benchmark; its standard error goes to ours.

    Raises:
        WrongDocument: it failed, or printed something else.
    """
    environment = dict(os.environ)
    if VECTORS.is_dir():
        environment.setdefault("SEALWARD_VECTORS", str(VECTORS))
    done = subprocess.run(
        [sys.executable, program, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        raise WrongDocument(f"exit status {done.returncode}")
    return read_document(done.stdout)


def main() -> int:
    """Measure, and write the page."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("names", nargs="*", metavar="NAME", help="only these; all by default")
    arguments.add_argument("--output", type=Path, default=PAGE)
    options = arguments.parse_args()
    documents = []
    for program in benchmarks(options.names):
        print(f"{program.stem} ...", file=sys.stderr, flush=True)
        try:
            documents.append(run(program))
        except WrongDocument as error:
            print(f"{program.name}: {error}", file=sys.stderr)
            return 1
    now = datetime.now(UTC)  # noqa: TID251 - a program of its own, dating its page
    options.output.write_text(page(documents, machine=machine_facts(now)))
    print(f"{options.output} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
