"""The file in which tpm2-tools keep quoted PCR values (`tpm2_quote -o`), read and written.

It is the memory of a 64-bit little-endian machine: TPML_PCR_SELECTION with room for 16 banks, a
count, and that many TPML_DIGEST with room for 8 digests each (tpm2-tss headers). Padding and unused
room must be zero, so it reads one way.
"""

from __future__ import annotations

from typing import Final

from sealward.verifier.formats.tpm.pcr import PcrBank, PcrSelection
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget
from sealward.verifier.wire.tcg_hash import HashAlg

_BANKS: Final = 16
_BITMAP: Final = 4
_DIGESTS: Final = 8
_DIGEST_ROOM: Final = 64
_MAX_LISTS: Final = 32
_MAX_BYTES: Final = 4 + _BANKS * 8 + 4 + _MAX_LISTS * (4 + _DIGESTS * (2 + _DIGEST_ROOM))
_WHAT: Final = "PCR file of tpm2-tools"


def parse(data: bytes) -> tuple[PcrBank, ...]:
    """Read a PCR file.

    Raises:
        MalformedEvidence: anything but one such file, with a digest for each selected PCR.
    """
    check_budget(data, _MAX_BYTES, _WHAT)
    reader = Reader(data)
    selections = _selections(reader)
    lists = reader.le(4, _WHAT)
    if lists > _MAX_LISTS:
        raise reader.malformed(f"{_WHAT}: {lists} lists of digests")
    digests = [digest for _ in range(lists) for digest in _digests(reader)]
    reader.finish()
    wanted = [(item.bank, index) for item in selections for index in item.indices]
    if len(wanted) != len(digests):
        raise MalformedEvidence(0, f"{_WHAT}: {len(digests)} values for {len(wanted)} PCRs")
    found = dict(zip(wanted, digests, strict=True))
    try:
        return tuple(
            PcrBank(item.bank, tuple((i, found[item.bank, i]) for i in item.indices))
            for item in selections
        )
    except ValueError as error:
        raise MalformedEvidence(0, f"{_WHAT}: {error}") from None


def _selections(reader: Reader) -> tuple[PcrSelection, ...]:
    count = reader.le(4, _WHAT)
    if not 1 <= count <= _BANKS:
        raise reader.malformed(f"{_WHAT}: {count} banks")
    found: list[PcrSelection] = []
    for _ in range(count):
        algorithm, size = reader.le(2, _WHAT), reader.u8(_WHAT)
        bitmap = reader.le(_BITMAP, _WHAT)
        reader.must_be_zero(1, _WHAT)
        known = algorithm in tuple(HashAlg) and algorithm not in [item.bank for item in found]
        if not known or not 1 <= size <= _BITMAP or bitmap >> 8 * size:
            raise reader.malformed(f"{_WHAT}: unknown or repeated bank, or a bad bitmap")
        found.append(PcrSelection(HashAlg(algorithm), size, bitmap))
    reader.must_be_zero((_BANKS - count) * 8, _WHAT)
    return tuple(found)


def _digests(reader: Reader) -> list[bytes]:
    count = reader.le(4, _WHAT)
    if not 1 <= count <= _DIGESTS:
        raise reader.malformed(f"{_WHAT}: a list of {count} digests")
    found: list[bytes] = []
    for _ in range(count):
        size = reader.le(2, _WHAT)
        if size > _DIGEST_ROOM:
            raise reader.malformed(f"{_WHAT}: a digest of {size} bytes")
        found.append(reader.take(size, _WHAT))
        reader.must_be_zero(_DIGEST_ROOM - size, _WHAT)
    reader.must_be_zero((_DIGESTS - count) * (2 + _DIGEST_ROOM), _WHAT)
    return found
