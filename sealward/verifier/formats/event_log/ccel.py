"""Event logs of confidential guests (CCEL): measurement registers, and the ACPI table in front.

The log itself is crypto-agile (log.py) with one bank; its register field counts measurement
registers: 0 is the launch measurement, which no log extends, 1 to 4 are the run-time registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

TABLE_SIZE: Final = 0x38
_SIGNATURE: Final = b"CCEL"
_REGISTERS: Final = ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")


@unique
class CcType(IntEnum):
    """The technology of the guest (UEFI, CC Type)."""

    SEV = 1
    TDX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The ACPI table: where the log lies in guest memory.

    Attributes:
        revision: of the table.
        oem: the 26 bytes of OEM and creator fields.
        type, subtype: what kind of guest.
        log_size: least size of the log area in bytes.
        log_address: its guest-physical address.
    """

    revision: int
    oem: bytes
    type: CcType
    subtype: int
    log_size: int
    log_address: int


def register_name(register: int) -> str | None:
    """Return the name of a measurement register ("rtmr0" for 1), or None when there is none."""
    return _REGISTERS[register] if 0 <= register < len(_REGISTERS) else None


def parse_table(data: bytes) -> Table:
    """Read a CCEL ACPI table.

    Raises:
        MalformedEvidence: another signature, size, checksum or type, or reserved bytes set.
    """
    what = "CCEL table"
    reader = Reader(data)
    if reader.take(4, what) != _SIGNATURE or reader.le(4, what) != TABLE_SIZE:
        raise MalformedEvidence(0, f"{what}: not a CCEL table of {TABLE_SIZE} bytes")
    revision = reader.u8(what)
    reader.u8(what)  # the checksum, which makes the sum of all bytes zero
    oem = reader.take(26, what)
    kind = reader.u8(what)
    if kind not in tuple(CcType):
        raise reader.malformed(f"{what}: type {kind} is not known")
    subtype = reader.u8(what)
    reader.must_be_zero(2, what)
    table = Table(
        revision=revision,
        oem=oem,
        type=CcType(kind),
        subtype=subtype,
        log_size=reader.le(8, what),
        log_address=reader.le(8, what),
    )
    reader.finish()
    if sum(data) % 256:
        raise MalformedEvidence(9, f"{what}: the checksum is wrong")
    return table


def encode_table(table: Table) -> bytes:
    """Return the bytes that parse to `table`."""
    blob = bytearray(_SIGNATURE + TABLE_SIZE.to_bytes(4, "little"))
    blob += bytes((table.revision, 0)) + table.oem + bytes((table.type, table.subtype, 0, 0))
    blob += table.log_size.to_bytes(8, "little") + table.log_address.to_bytes(8, "little")
    blob[9] = -sum(blob) % 256
    return bytes(blob)
