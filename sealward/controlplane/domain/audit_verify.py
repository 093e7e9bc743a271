"""Offline verification of an exported audit log, with nothing but the log's public key.

    1. The first line is the header of the log that the key belongs to.
    2. Entries have the indices 0, 1, 2, ... without a gap.
    3. Each entry's commitment is recomputed from its salt and body, its leaf from the commitment.
    4. Each checkpoint is signed by the key and stands behind exactly the entries that it counts.
    5. Its root is that of the tree recomputed from all entries so far. One tree grows through the
       whole export, so that two checkpoints that pass are consistent with each other.
    6. Checkpoints that the auditor kept from earlier are states of the same tree.
    7. The last line is a checkpoint: no entry is left uncovered.

What this cannot see: entries that were never written, and a log that shows others another tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import assert_never

from sealward.controlplane.domain import checkpoint as notes
from sealward.controlplane.domain.audit_export import (
    CheckpointLine,
    EntryLine,
    ExportRefused,
    HeaderLine,
    read_line,
)
from sealward.controlplane.domain.checkpoint import Checkpoint, CheckpointRefused, LogKey
from sealward.controlplane.domain.merkle import Frontier, leaf_hash


@unique
class Finding(StrEnum):
    """What is wrong, in the words of the steps above."""

    malformed = "malformed"
    wrong_log = "wrong_log"
    index_gap = "index_gap"
    checkpoint_refused = "checkpoint_refused"
    root_mismatch = "root_mismatch"
    kept_checkpoint_contradicted = "kept_checkpoint_contradicted"
    kept_checkpoint_missing = "kept_checkpoint_missing"
    entries_uncovered = "entries_uncovered"


@dataclass(frozen=True, slots=True)
class Problem:
    """The first thing that is wrong: its line (from 1), what it is, and a sentence."""

    line: int
    finding: Finding
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What was verified up to the end, or up to the first problem."""

    origin: str
    entries: int
    opened: int  # entries whose body was shown and matched its commitment
    checkpoints: int
    covered: int  # entries under the last good checkpoint
    root: str  # lower hex, of the last good checkpoint; empty when there was none
    problem: Problem | None

    @property
    def ok(self) -> bool:
        """Whether everything was verified."""
        return self.problem is None


def verify_export(
    lines: Iterable[bytes], key: LogKey, kept: Sequence[Checkpoint] = ()
) -> AuditReport:
    """Verify an export line by line; raises nothing for any lines.

    Args:
        lines: the lines of the export, each with its newline.
        key: the public key of the log, from a source that does not depend on the export.
        kept: checkpoints verified earlier; without them a log cut at an older checkpoint passes.
    """
    walk = _Walk(key, kept)
    problem = None
    number = 0
    try:
        for number, line in enumerate(lines, 1):  # noqa: B007 - the number is reported below
            walk.take(line)
        walk.finish()
    except _Stop as stop:
        problem = Problem(number, stop.finding, stop.detail)
    return walk.report(problem)


class _Stop(Exception):
    """The first problem; verification goes no further."""

    def __init__(self, finding: Finding, detail: str) -> None:
        super().__init__(finding, detail)
        self.finding = finding
        self.detail = detail


class _Walk:
    """The tree so far, and what has been seen."""

    def __init__(self, key: LogKey, kept: Sequence[Checkpoint]) -> None:
        self._key = key
        self._kept = sorted(kept, key=lambda checkpoint: checkpoint.size)
        self._tree = Frontier()
        self._begun = False
        self._opened = 0
        self._checkpoints = 0
        self._last: Checkpoint | None = None

    def take(self, line: bytes) -> None:
        """Verify one line. Raises _Stop."""
        try:
            parsed = read_line(line)
        except ExportRefused as error:
            raise _Stop(Finding.malformed, str(error)) from None
        if isinstance(parsed, HeaderLine) is self._begun:
            raise _Stop(Finding.malformed, "the header is the first line, and only that")
        match parsed:
            case HeaderLine():
                self._header(parsed)
            case EntryLine():
                self._entry(parsed)
            case CheckpointLine():
                self._checkpoint(parsed)
            case _:
                assert_never(parsed)

    def finish(self) -> None:
        """Verify that nothing is left open. Raises _Stop."""
        if self._last is None:
            raise _Stop(Finding.entries_uncovered, "the export has no checkpoint")
        if self._last.size != self._tree.size:
            raise _Stop(
                Finding.entries_uncovered,
                f"no checkpoint covers the entries from {self._last.size} on",
            )
        if self._kept:
            raise _Stop(
                Finding.kept_checkpoint_missing,
                f"a kept checkpoint has {self._kept[0].size} entries, the export has fewer",
            )

    def report(self, problem: Problem | None) -> AuditReport:
        return AuditReport(
            origin=self._key.name,
            entries=self._tree.size,
            opened=self._opened,
            checkpoints=self._checkpoints,
            covered=self._last.size if self._last else 0,
            root=self._last.root.hex() if self._last else "",
            problem=problem,
        )

    def _header(self, header: HeaderLine) -> None:
        if header.origin != self._key.name:
            raise _Stop(Finding.wrong_log, "the export is of another log than the key")
        self._begun = True
        self._compare_kept()

    def _entry(self, entry: EntryLine) -> None:
        if entry.index != self._tree.size:
            raise _Stop(
                Finding.index_gap, f"entry {entry.index} where {self._tree.size} must follow"
            )
        self._tree = self._tree.extend((leaf_hash(entry.leaf()),))
        self._opened += entry.body is not None
        self._compare_kept()

    def _checkpoint(self, line: CheckpointLine) -> None:
        try:
            checkpoint = notes.verify(line.note, self._key)
        except CheckpointRefused as error:
            raise _Stop(Finding.checkpoint_refused, str(error)) from None
        if checkpoint.size != self._tree.size:
            raise _Stop(
                Finding.index_gap,
                f"a checkpoint of {checkpoint.size} entries behind {self._tree.size}",
            )
        if checkpoint.root != self._tree.root():
            since = self._last.size if self._last else 0
            raise _Stop(
                Finding.root_mismatch,
                f"an entry from {since} to {checkpoint.size - 1} is not the one that was logged",
            )
        self._checkpoints += 1
        self._last = checkpoint

    def _compare_kept(self) -> None:
        while self._kept and self._kept[0].size == self._tree.size:
            if self._kept.pop(0).root != self._tree.root():
                raise _Stop(
                    Finding.kept_checkpoint_contradicted,
                    f"the first {self._tree.size} entries are not those of the kept checkpoint",
                )
