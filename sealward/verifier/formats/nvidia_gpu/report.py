"""The bytes of a report: an SPDM request for measurements, and the answer the device signed.

DMTF DSP0274 (SPDM) 1.1, sections 10.11.1 (GET_MEASUREMENTS) and 10.11.2 (MEASUREMENTS); integers
are little-endian, the signature is r and s, big-endian, 48 bytes each. The device signs request and
answer, all bytes in front of the signature. Nothing is verified here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from sealward.verifier.formats.nvidia_gpu import opaque
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget

MAX_BYTES: Final = 8192  # GPUs send about 4 KiB
NONCE_SIZE: Final = 32
DIGEST_SIZE: Final = 48
SPDM_VERSION: Final = 0x11
MAX_BLOCKS: Final = 64

_GET_MEASUREMENTS: Final = 0xE0
_MEASUREMENTS: Final = 0x60
_SIGNED: Final = 1  # request attribute: a signature is wanted
_ALL: Final = 0xFF  # operation: all measurements
_MAX_SLOT: Final = 7
_SIGNATURE_HALF: Final = 48
_MAX_PADDING: Final = 3  # driver 580 rounds the size up; more is no rounding
_HEAD: Final = Struct("<BBBBB")
# Index, specification 1 (DMTF), size, then the DMTF head: type, size, value.
_BLOCK: Final = f"BBHBH{DIGEST_SIZE}s"
_BLOCK_SIZE: Final = 7 + DIGEST_SIZE
_SHAPE: Final = ({1}, {3 + DIGEST_SIZE}, {DIGEST_SIZE})  # of every block: DMTF, size, value size
_RAW: Final = 0x80  # DMTF value type: the value is no digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A parsed report.

    Attributes:
        nonce: the requester's, 32 bytes.
        slot: of the certificate chain asked for.
        device_nonce: the device's own, 32 bytes.
        blocks: measurement block index (from 1) -> its digest, ascending.
        opaque: the device's own fields.
        opaque_size: bytes they take.
        signed: what the signature covers.
        signature_r, signature_s: as integers.
    """

    nonce: bytes
    slot: int
    device_nonce: bytes
    blocks: tuple[tuple[int, bytes], ...] = field(repr=False)
    opaque: opaque.Opaque
    opaque_size: int
    signed: bytes = field(repr=False)
    signature_r: int = field(repr=False)
    signature_s: int = field(repr=False)


def looks_like(data: bytes) -> bool:
    """Whether `data` starts with the request that every report starts with."""
    return data.startswith(bytes((SPDM_VERSION, _GET_MEASUREMENTS, _SIGNED, _ALL)))


def parse(data: bytes) -> Report:
    """Read a report.

    Raises:
        MalformedEvidence: not one request for all signed measurements, and its answer.
    """
    check_budget(data, MAX_BYTES, "NVIDIA report")
    reader = Reader(data)
    if reader.take(4, "request") != bytes((SPDM_VERSION, _GET_MEASUREMENTS, _SIGNED, _ALL)):
        raise MalformedEvidence(0, "request: not SPDM 1.1 GET_MEASUREMENTS, signed, of all")
    nonce = reader.take(NONCE_SIZE, "nonce")
    slot = reader.u8("slot")
    if slot > _MAX_SLOT:
        raise reader.malformed("slot: beyond 7")
    blocks = _answer(reader, slot)
    device_nonce = reader.take(NONCE_SIZE, "device nonce")
    size = reader.le(2, "opaque length")
    at = reader.offset
    fields = opaque.parse(reader.take(size, "opaque data"), base=at)
    signed = reader.since(0)
    r = reader.be(_SIGNATURE_HALF, "signature r")
    s = reader.be(_SIGNATURE_HALF, "signature s")
    if reader.remaining <= _MAX_PADDING:
        reader.must_be_zero(reader.remaining, "padding")
    reader.finish()
    return Report(
        nonce=nonce,
        slot=slot,
        device_nonce=device_nonce,
        blocks=blocks,
        opaque=fields,
        opaque_size=size,
        signed=signed,
        signature_r=r,
        signature_s=s,
    )


def _answer(reader: Reader, slot: int) -> tuple[tuple[int, bytes], ...]:
    """Read the answer's head and its measurement record."""
    version, code, first, second, count = reader.unpack(_HEAD, "answer")
    if (version, code) != (SPDM_VERSION, _MEASUREMENTS):
        raise reader.malformed("answer: not SPDM 1.1 MEASUREMENTS")
    if first or second != slot:
        raise reader.malformed("answer: parameters that do not answer the request")
    if not 1 <= count <= MAX_BLOCKS:
        raise reader.malformed(f"answer: not 1 to {MAX_BLOCKS} measurement blocks")
    if reader.le(3, "record length") != count * _BLOCK_SIZE:
        raise reader.malformed("record length: not that of its blocks")
    values = reader.unpack(_record(count), "measurement record")
    indexes, specifications, sizes, kinds, value_sizes, digests = (values[at::6] for at in range(6))
    if (set(specifications), set(sizes), set(value_sizes)) != _SHAPE:
        raise reader.malformed("block: not a DMTF measurement of 48 bytes")
    ascending = indexes[0] > 0 and list(indexes) == sorted(set(indexes))
    if max(kinds) & _RAW or not ascending or indexes[-1] > MAX_BLOCKS:
        raise reader.malformed("block: no digest, or not in ascending order")
    return tuple(zip(indexes, digests, strict=True))


@functools.cache
def _record(count: int) -> Struct:
    """Return the layout of a record of `count` blocks."""
    return Struct("<" + _BLOCK * count)
