"""PCR selections and PCR values (TPML_PCR_SELECTION, and what attesters send beside a quote)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sealward.verifier.formats.tpm import fields
from sealward.verifier.wire.reader import Reader
from sealward.verifier.wire.tcg_hash import HashAlg

MAX_BANKS: Final = 8  # TPML_PCR_SELECTION: HASH_COUNT of the reference implementation is below
MAX_BITMAP_BYTES: Final = 4  # what PCR_SELECT_MAX of some TPMs asks for; its last byte is zero
USUAL_BITMAP_BYTES: Final = 3
PCR_COUNT: Final = 24  # of PC clients; a lock object names three bytes of them


@dataclass(frozen=True, slots=True)
class PcrSelection:
    """The PCRs of one bank: `bitmap` has bit i set for PCR i, `size` is its length in bytes."""

    bank: HashAlg
    size: int
    bitmap: int

    @property
    def indices(self) -> tuple[int, ...]:
        """The selected PCRs, ascending."""
        return tuple([index for index in range(8 * self.size) if self.bitmap >> index & 1])

    @classmethod
    def of(cls, bank: HashAlg, indices: tuple[int, ...]) -> PcrSelection:
        """Return the selection of these PCRs (0..23) as every TPM of ours writes it."""
        return cls(bank, USUAL_BITMAP_BYTES, sum(1 << index for index in set(indices)))


@dataclass(frozen=True, slots=True)
class PcrBank:
    """Values of one bank: (index, digest), ascending by index."""

    bank: HashAlg
    values: tuple[tuple[int, bytes], ...]

    def __post_init__(self) -> None:
        if any(a >= b for (a, _), (b, _) in pairwise(self.values)):
            raise ValueError("PCRs of a bank are ascending, without repetition")
        if any(index >= PCR_COUNT for index, _ in self.values):
            raise ValueError(f"a PCR of a PC client is below {PCR_COUNT}")
        size = self.bank.size
        if any(len(digest) != size for _, digest in self.values):
            raise ValueError("a PCR has the size of its bank's hash")

    @property
    def bitmap(self) -> int:
        """Bit i for PCR i, as in a selection."""
        return sum(1 << index for index, _ in self.values)


def read_selections(reader: Reader) -> tuple[PcrSelection, ...]:
    """Read a TPML_PCR_SELECTION; a bank stands in it once.

    Raises:
        MalformedEvidence: too many or repeated banks, unknown hashes, bitmaps of odd sizes, or a
            PCR that PC clients do not have.
    """
    what = "PCR selection"
    count = reader.be(4, what)
    if count > MAX_BANKS:
        raise reader.malformed(f"{what}: {count} banks, at most {MAX_BANKS} are read")
    found: list[PcrSelection] = []
    for _ in range(count):
        bank = fields.known(reader, HashAlg, what)
        size = reader.u8(what)
        if not 1 <= size <= MAX_BITMAP_BYTES or any(bank == other.bank for other in found):
            raise reader.malformed(f"{what}: repeated bank, or a bitmap of {size} bytes")
        bitmap = reader.le(size, what)
        if bitmap >> PCR_COUNT:
            raise reader.malformed(f"{what}: PCR {bitmap.bit_length() - 1}, PCs have {PCR_COUNT}")
        found.append(PcrSelection(bank, size, bitmap))
    return tuple(found)


def pack_selections(selections: tuple[PcrSelection, ...]) -> bytes:
    """Return the TPML_PCR_SELECTION."""
    return fields.be(len(selections), 4) + b"".join(
        fields.be(item.bank, 2) + bytes((item.size,)) + item.bitmap.to_bytes(item.size, "little")
        for item in selections
    )


def split_raw(data: bytes, selections: tuple[PcrSelection, ...]) -> tuple[PcrBank, ...]:
    """Cut concatenated values, as `tpm2_pcrread -o` writes them, along a selection.

    Raises:
        MalformedEvidence: `data` has not the size the selection asks for.
    """
    reader = Reader(data)
    banks = tuple(
        PcrBank(
            item.bank,
            tuple((index, reader.take(item.bank.size, "PCR value")) for index in item.indices),
        )
        for item in selections
    )
    reader.finish()
    return banks
