"""`sealward audit verify`: check an exported audit log offline, without the control plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from sealward.controlplane.cli.terminal import write_fields, write_json
from sealward.controlplane.domain import checkpoint as notes
from sealward.controlplane.domain.audit_export import MAX_LINE_BYTES
from sealward.controlplane.domain.audit_verify import AuditReport, verify_export
from sealward.controlplane.domain.checkpoint import Checkpoint, CheckpointRefused, LogKey

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("verify")
@click.argument("file", type=click.File("rb"))
@click.option("--log-key", type=_FILE, required=True, help="The log's public key (name+hash+key).")
@click.option(
    "--checkpoint",
    "kept",
    type=_FILE,
    multiple=True,
    help="A checkpoint kept from earlier, which the export must contain or extend.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def audit_verify(file: BinaryIO, log_key: Path, kept: tuple[Path, ...], *, as_json: bool) -> None:
    """Verify the exported audit log FILE (- for standard input).

    Exits 0 when all of it is proven, 1 at the first thing that is not.
    """
    key = _read_key(log_key)
    report = verify_export(_lines(file), key, [_read_checkpoint(path, key) for path in kept])
    if as_json:
        write_json(_document(report))
    else:
        write_fields(_rows(report))
    if not report.ok:
        raise click.exceptions.Exit(1)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines of bounded length; one that is longer is refused by the reader of lines."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        yield line


def _read_key(path: Path) -> LogKey:
    try:
        return notes.read_log_key(_read(path, notes.MAX_LOG_KEY_BYTES))
    except CheckpointRefused as error:
        raise click.UsageError(f"{path}: {error}") from None


def _read_checkpoint(path: Path, key: LogKey) -> Checkpoint:
    try:
        return notes.verify(_read(path, notes.MAX_NOTE_BYTES), key)
    except CheckpointRefused as error:
        raise click.UsageError(f"{path}: {error}") from None


def _read(path: Path, limit: int) -> str:
    with path.open("rb") as file:
        content = file.read(limit + 1)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise click.UsageError(f"{path}: not text") from None


def _rows(report: AuditReport) -> Iterator[tuple[str, str]]:
    yield "log", report.origin
    yield "entries", f"{report.entries} ({report.opened} opened)"
    yield "checkpoints", f"{report.checkpoints}, the last over {report.covered} entries"
    yield "root", report.root or "-"
    if report.problem is None:
        yield "result", "verified"
        return
    problem = report.problem
    yield "result", f"REFUSED at line {problem.line}: {problem.finding}: {problem.detail}"


def _document(report: AuditReport) -> dict[str, object]:
    problem = report.problem
    return {
        "checkpoints": report.checkpoints,
        "covered": report.covered,
        "entries": report.entries,
        "ok": report.ok,
        "opened": report.opened,
        "origin": report.origin,
        "problem": None
        if problem is None
        else {"detail": problem.detail, "finding": problem.finding, "line": problem.line},
        "root": report.root,
    }
