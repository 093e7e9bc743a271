"""The GHCB certificate table (AMD 56421 section 4.1.8.1; configfs-tsm `auxblob`).

    entry = { GUID 16 bytes in RFC 4122 order, offset u32 LE, length u32 LE }

Entries end with an all-zero one; offsets count from the start of the blob. What no entry covers
must be zero, and entries must not overlap, so `encode(parse(x)) == x`. What the entries hold is not
looked at: the host fills this table, and a role is recognised by content, never by GUID.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget

MAX_TABLE_BYTES: Final = 64 * 1024  # KVM gives 4 pages; three PEM chains and a CRL fit twice
MAX_ENTRIES: Final = 16

ARK: Final = UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae")
ASK: Final = UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")  # or ASVK
VCEK: Final = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
VLEK: Final = UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
CRL: Final = UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")
CERTIFICATES: Final = (ARK, ASK, VCEK, VLEK)

_ENTRY_SIZE: Final = 24
_END: Final = bytes(_ENTRY_SIZE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: what it is said to be, where it lies, and its bytes (DER or PEM)."""

    guid: UUID
    offset: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Table:
    """A whole table; `size` is that of the blob."""

    size: int
    entries: tuple[Entry, ...]


def parse(blob: bytes) -> Table:
    """Read a certificate table.

    Raises:
        MalformedEvidence: not one table as described above, within the budgets.
    """
    what = "GHCB certificate table"
    check_budget(blob, MAX_TABLE_BYTES, what)
    reader = Reader(blob)
    rows: list[tuple[UUID, int, int]] = []
    while (row := reader.take(_ENTRY_SIZE, what)) != _END:
        fields = Reader(row)
        guid = UUID(bytes=fields.take(16, what))
        if len(rows) == MAX_ENTRIES or any(guid == known for known, _, _ in rows):
            raise MalformedEvidence(reader.offset, f"{what}: repeated GUID, or too many entries")
        rows.append((guid, fields.le(4, what), fields.le(4, what)))
    entries: list[Entry] = []
    for guid, offset, length in sorted(rows, key=lambda row: row[1]):
        if length == 0 or offset < reader.offset:
            raise MalformedEvidence(offset, f"{what}: entry {guid} is empty or overlaps")
        reader.must_be_zero(offset - reader.offset, what)
        entries.append(Entry(guid, offset, reader.take(length, what)))
    reader.must_be_zero(reader.remaining, what)
    order = [guid for guid, _, _ in rows]
    return Table(len(blob), tuple(sorted(entries, key=lambda entry: order.index(entry.guid))))


def encode(table: Table) -> bytes:
    """Return the blob that parses to `table`."""
    rows = b"".join(
        entry.guid.bytes
        + entry.offset.to_bytes(4, "little")
        + len(entry.data).to_bytes(4, "little")
        for entry in table.entries
    )
    blob = bytearray(rows.ljust(table.size, b"\0"))
    for entry in table.entries:
        blob[entry.offset : entry.offset + len(entry.data)] = entry.data
    return bytes(blob)
