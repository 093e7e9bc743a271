"""The report that Azure's paravisor leaves in NV memory, bytes to fields and back.

    offset  field                                          all numbers little-endian
    0x000   "HCLA", version u32 (1, 2), report size u32, request type u32 (2), status u32 (0),
            reserved 12
    0x020   hardware report, 1184 bytes: an SNP report, or a TDREPORT of 1024 bytes and zeros
    0x4c0   data size u32, version u32 (1), report type u32 (2 SNP, 4 TDX),
            hash type u32 (1 SHA-256, 2 SHA-384, 3 SHA-512), claims size u32
    0x4d4   runtime claims: JSON
    then    zeros to the end of the NV index

The report size counts from 0 to the end of the claims. `encode(parse(x)) == x` for every x that
parses; only the parts that the format calls sizes are not kept, for they follow from the rest.

Nothing here is verified: what the hardware vouches for is the hash of the claims (`require_bound`).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import IntEnum, unique
from struct import Struct
from typing import Final

from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire.reader import Reader, check_budget
from sealward.verifier.wire.tcg_hash import HashAlg

MAGIC: Final = b"HCLA"
MAX_REPORT_BYTES: Final = 4096  # MAX_NV_INDEX_SIZE of Azure's TPM; the index has 2600
REPORT_DATA_SIZE: Final = 64

_WHAT: Final = "HCL report"
_HEAD: Final = Struct("<4sIIII")
_HEAD_RESERVED: Final = 12
_HARDWARE_SIZE: Final = 1184
_DATA: Final = Struct("<IIIII")
_CLAIMS_AT: Final = _HEAD.size + _HEAD_RESERVED + _HARDWARE_SIZE + _DATA.size
_VERSIONS: Final = (1, 2)
_REQUEST_TYPE: Final = 2
_DATA_VERSION: Final = 1


@unique
class Hardware(IntEnum):
    """What the hardware report is of."""

    SNP = 2
    TDX = 4


_SIZES: Final = {Hardware.SNP: 1184, Hardware.TDX: 1024}
_HASHES: Final = {1: HashAlg.SHA256, 2: HashAlg.SHA384, 3: HashAlg.SHA512}
_HASH_TYPES: Final = {algorithm: number for number, algorithm in _HASHES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class HclReport:
    """A parsed report.

    Attributes:
        version: 1 or 2.
        hardware: what made the hardware report.
        hardware_report: SNP report (1184 bytes) or TDREPORT (1024 bytes).
        hash: the hash by which the hardware report's report_data vouches for the claims.
        claims: the runtime claims, JSON, byte for byte.
        padding: zeros behind them.
    """

    version: int
    hardware: Hardware
    hardware_report: bytes = field(repr=False)
    hash: HashAlg
    claims: bytes = field(repr=False)
    padding: int


def parse(data: bytes) -> HclReport:
    """Read a report.

    Raises:
        MalformedEvidence: another magic, version or kind, sizes that contradict each other, or
            anything but zeros where nothing stands.
    """
    check_budget(data, MAX_REPORT_BYTES, _WHAT)
    reader = Reader(data)
    magic, version, size, request, status = reader.unpack(_HEAD, _WHAT)
    if magic != MAGIC or version not in _VERSIONS:
        raise MalformedEvidence(0, f"{_WHAT}: not 'HCLA' of version 1 or 2")
    if request != _REQUEST_TYPE or status != 0:
        raise MalformedEvidence(12, f"{_WHAT}: not a report that was made without error")
    reader.must_be_zero(_HEAD_RESERVED, _WHAT)
    area = reader.take(_HARDWARE_SIZE, f"{_WHAT}: hardware report")
    hardware, algorithm, claims = _data(reader)
    if size != _CLAIMS_AT + len(claims):
        raise MalformedEvidence(8, f"{_WHAT}: its size is not that of its parts")
    inside = Reader(area, base=_HEAD.size + _HEAD_RESERVED)
    report = inside.take(_SIZES[hardware], "hardware report")
    inside.must_be_zero(inside.remaining, "behind the hardware report")
    padding = reader.remaining
    reader.must_be_zero(padding, "behind the runtime claims")
    return HclReport(
        version=version,
        hardware=hardware,
        hardware_report=report,
        hash=algorithm,
        claims=claims,
        padding=padding,
    )


def encode(report: HclReport) -> bytes:
    """Return the bytes that parse to `report`."""
    size = len(report.claims)
    hash_type = _HASH_TYPES[report.hash]
    head = _HEAD.pack(MAGIC, report.version, _CLAIMS_AT + size, _REQUEST_TYPE, 0)
    data = _DATA.pack(_DATA.size + size, _DATA_VERSION, report.hardware, hash_type, size)
    hardware = report.hardware_report.ljust(_HARDWARE_SIZE, b"\0")
    return b"".join(
        (head, bytes(_HEAD_RESERVED), hardware, data, report.claims, bytes(report.padding))
    )


def require_bound(report: HclReport, report_data: bytes) -> None:
    """Check that hardware vouches for the runtime claims: report_data is their hash, then zeros.

    Args:
        report: the report.
        report_data: the 64 bytes of the authenticated hardware evidence.

    Raises:
        RefusedEvidence: PARTS_MISMATCH.
    """
    expected = report.hash.digest(report.claims).ljust(REPORT_DATA_SIZE, b"\0")
    if not hmac.compare_digest(expected, report_data):
        raise RefusedEvidence(
            Code.PARTS_MISMATCH,
            "the hardware did not vouch for these runtime claims",
            claim="azure",
            expected=expected.hex(),
            actual=report_data.hex(),
            hint="read the whole report at once (NV index 0x01400001), and send it as it is",
        )


def _data(reader: Reader) -> tuple[Hardware, HashAlg, bytes]:
    what = f"{_WHAT}: data"
    at = reader.offset
    size, version, kind, hash_type, claims_size = reader.unpack(_DATA, what)
    if version != _DATA_VERSION or size != _DATA.size + claims_size:
        raise MalformedEvidence(at, f"{what}: another version, or sizes that contradict each other")
    if kind not in _SIZES or hash_type not in _HASHES:
        raise MalformedEvidence(at, f"{what}: report type {kind} or hash type {hash_type} unknown")
    claims = reader.take(claims_size, f"{_WHAT}: runtime claims")
    return Hardware(kind), _HASHES[hash_type], claims
