"""The export of the audit log as JSON lines: docs/specs/audit-log.md section 4.

One canonical JSON object a line: a header, then entries in order of their index, each checkpoint
right behind the last entry that it covers. A reader needs one line at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final, cast

from sealward.controlplane.domain.audit import SALT_BYTES, AuditEntry, commitment, leaf_bytes
from sealward.controlplane.domain.merkle import HASH_BYTES
from sealward.controlplane.domain.records import unix_ms
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

MAX_LINE_BYTES: Final = 1024 * 1024  # a body is some kilobytes; far below what reading costs

_FORMAT: Final = 1
_MAX_DEPTH: Final = 2


class ExportRefused(Exception):
    """A line that is not what the format allows."""


@unique
class _Type(StrEnum):
    header = "header"
    entry = "entry"
    checkpoint = "checkpoint"


@dataclass(frozen=True, slots=True)
class HeaderLine:
    """The first line: the origin of the log."""

    origin: str


@dataclass(frozen=True, slots=True)
class EntryLine:
    """An entry: its index, its leaf, and its body when the export opens it."""

    index: int
    kind: str
    time_ms: int
    tenant: str
    committed: bytes
    body: str | None

    def leaf(self) -> bytes:
        """Return the leaf that the entry states."""
        return leaf_bytes(self.kind, self.time_ms, self.tenant, self.committed)


@dataclass(frozen=True, slots=True)
class CheckpointLine:
    """A checkpoint: the signed note."""

    note: str


Line = HeaderLine | EntryLine | CheckpointLine


def header_line(origin: str) -> bytes:
    """Return the first line of an export."""
    return _line(_Type.header, {"origin": origin, "v": _FORMAT})


def entry_line(entry: AuditEntry, *, opened: bool = True) -> bytes:
    """Return the line of a sequenced entry; without its body and salt when not `opened` (F27)."""
    if entry.log_index is None:
        raise ValueError("an entry without an index is not in the log yet")
    body = entry.body.encode("utf-8")
    secret: dict[str, json.Canonical] = (
        {"body": entry.body, "salt": entry.salt.hex()}
        if opened
        else {"commitment": commitment(entry.salt, body).hex()}
    )
    public: dict[str, json.Canonical] = {
        "index": entry.log_index,
        "kind": entry.kind,
        "tenant": entry.tenant,
        "time": unix_ms(entry.created),
    }
    return _line(_Type.entry, {**public, **secret})


def checkpoint_line(note: str) -> bytes:
    """Return the line of a checkpoint."""
    return _line(_Type.checkpoint, {"note": note})


def read_line(line: bytes) -> Line:
    """Read one line, newline included.

    Raises:
        ExportRefused: anything but the one encoding of a line; nothing else for any bytes.
    """
    try:
        value = json.decode(line, what="line", max_bytes=MAX_LINE_BYTES, max_depth=_MAX_DEPTH)
    except MalformedEvidence as error:
        raise ExportRefused(str(error)) from None
    if not isinstance(value, dict) or not line.endswith(b"\n"):
        raise ExportRefused("not an object on one line")
    fields = _Fields(dict(value))
    parsed = _read(fields)
    fields.finish()
    try:
        again = json.canonical(cast("json.Canonical", value)) + b"\n"
    except (TypeError, ValueError):
        raise ExportRefused("not canonical JSON") from None
    if again != line:
        raise ExportRefused("not canonical JSON")
    return parsed


def _read(fields: _Fields) -> Line:
    match fields.text("type"):
        case _Type.header:
            if fields.number("v") != _FORMAT:
                raise ExportRefused("an export of another version")
            return HeaderLine(fields.text("origin"))
        case _Type.entry:
            return _read_entry(fields)
        case _Type.checkpoint:
            return CheckpointLine(fields.text("note"))
        case _:
            raise ExportRefused("a line of unknown type")


def _read_entry(fields: _Fields) -> EntryLine:
    body: str | None = None
    if fields.has("body"):
        body = fields.text("body")
        committed = commitment(fields.hex("salt", SALT_BYTES), body.encode("utf-8"))
    else:
        committed = fields.hex("commitment", HASH_BYTES)
    return EntryLine(
        index=fields.number("index"),
        kind=fields.text("kind"),
        time_ms=fields.number("time"),
        tenant=fields.text("tenant"),
        committed=committed,
        body=body,
    )


class _Fields:
    """The members of a line, each taken once."""

    def __init__(self, members: dict[str, json.Value]) -> None:
        self._members = members

    def has(self, name: str) -> bool:
        return name in self._members

    def text(self, name: str) -> str:
        value = self._members.pop(name, None)
        if not isinstance(value, str):
            raise ExportRefused(f"{name} is not text")
        return value

    def number(self, name: str) -> int:
        value = self._members.pop(name, None)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ExportRefused(f"{name} is not a whole number")
        if not 0 <= value <= json.MAX_EXACT_INTEGER:
            raise ExportRefused(f"{name} is out of range")
        return value

    def hex(self, name: str, size: int) -> bytes:
        text = self.text(name)
        try:
            value = bytes.fromhex(text)
        except ValueError:
            raise ExportRefused(f"{name} is not hex") from None
        if len(value) != size or value.hex() != text:
            raise ExportRefused(f"{name} is not {size} bytes of lower hex")
        return value

    def finish(self) -> None:
        if self._members:
            raise ExportRefused(f"a line with an unknown member {min(self._members)!r}")


def _line(kind: _Type, members: dict[str, json.Canonical]) -> bytes:
    return json.canonical({"type": kind, **members}) + b"\n"
