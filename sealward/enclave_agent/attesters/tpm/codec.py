"""Structures of TPM 2.0 part 2 as the agent's commands need them, to bytes and from bytes.

All numbers are big-endian; a TPM2B is two bytes of size and that many bytes. Writers take values of
our own and raise ValueError for what does not fit; readers take what a TPM sent and raise
MalformedEvidence, which `Response` turns into TpmError. Public areas stay bytes behind their first
fields: the agent hands them on and is not the one to judge them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum, unique
from itertools import pairwise
from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget

MAX_SIZED: Final = 2048  # the largest TPM2B of ours: an NV read or a private area is below
MAX_BANKS: Final = 16  # TPML_PCR_SELECTION; sixteen hashes are more than are registered
MAX_DIGESTS: Final = 8  # TPML_DIGEST
PCR_COUNT: Final = 24  # of a PC client
_BITMAP_BYTES: Final = 3
_MAX_BITMAP_BYTES: Final = 4
_QUOTE: Final = b"\xffTCG\x80\x18"  # magic and TPM_ST_ATTEST_QUOTE
_CLOCK_INFO: Final = 17
_ECDSA: Final = 0x0018


@unique
class HashAlg(IntEnum):
    """The hashes of the TCG's registry: PCR banks and name algorithms."""

    SHA1 = 0x0004
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    SM3_256 = 0x0012
    SHA3_256 = 0x0027
    SHA3_384 = 0x0028
    SHA3_512 = 0x0029

    @property
    def size(self) -> int:
        """Bytes of a digest."""
        return _SIZES[self]

    def digest(self, data: bytes) -> bytes:
        """Return the hash of `data`; ValueError for a bank that no name or policy of ours uses."""
        if self not in _NAME_HASHES:
            raise ValueError(f"{self.name} is neither a name algorithm nor a policy's")
        return hashlib.new(self.name.lower(), data).digest()


_SIZES: Final = {
    HashAlg.SHA1: 20,
    HashAlg.SHA256: 32,
    HashAlg.SHA384: 48,
    HashAlg.SHA512: 64,
    HashAlg.SM3_256: 32,
    HashAlg.SHA3_256: 32,
    HashAlg.SHA3_384: 48,
    HashAlg.SHA3_512: 64,
}
_NAME_HASHES: Final = frozenset({HashAlg.SHA256, HashAlg.SHA384, HashAlg.SHA512})


@dataclass(frozen=True, slots=True)
class PcrSelection:
    """PCRs of one bank: 0 to 31, ascending."""

    bank: HashAlg
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(a >= b for a, b in pairwise(self.indices)):
            raise ValueError("PCRs of a selection are ascending, without repetition")
        if self.indices and not 0 <= self.indices[0] <= self.indices[-1] < 8 * _MAX_BITMAP_BYTES:
            raise ValueError("a PCR is between 0 and 31")


@dataclass(frozen=True, slots=True)
class PcrBank:
    """Values of PCRs of one bank: (index, digest), ascending by index."""

    bank: HashAlg
    values: tuple[tuple[int, bytes], ...]

    @property
    def selection(self) -> PcrSelection:
        """Return which PCRs these are."""
        return PcrSelection(self.bank, tuple(index for index, _ in self.values))


@dataclass(frozen=True, slots=True)
class Public:
    """A TPMT_PUBLIC, of which only the head is understood.

    Attributes:
        name_alg: the hash behind its Name.
        attributes: TPMA_OBJECT, 32 bits.
        auth_policy: the policy that allows its use, or empty.
        area: all of it, as the TPM wrote it.
    """

    name_alg: HashAlg
    attributes: int
    auth_policy: bytes
    area: bytes = field(repr=False)

    @property
    def name(self) -> bytes:
        """Return the Name (part 1, section 16): hash identifier and the hash of the area."""
        return be(self.name_alg, 2) + self.name_alg.digest(self.area)


@dataclass(frozen=True, slots=True)
class Quoted:
    """What the agent looks at in a quote of its own TPM."""

    extra_data: bytes
    selections: tuple[PcrSelection, ...]
    pcr_digest: bytes


def be(value: int, size: int) -> bytes:
    """Return `value` in `size` bytes; OverflowError, a mistake of ours, where it does not fit."""
    return value.to_bytes(size, "big")


def pack(data: bytes) -> bytes:
    """Return the TPM2B of `data`; ValueError above MAX_SIZED bytes."""
    if len(data) > MAX_SIZED:
        raise ValueError(f"a TPM2B of {len(data)} bytes; {MAX_SIZED} is the most we send")
    return be(len(data), 2) + data


def pack_selections(selections: tuple[PcrSelection, ...]) -> bytes:
    """Return the TPML_PCR_SELECTION; ValueError for PCRs that a PC client does not have."""
    parts = [be(len(selections), 4)]
    for item in selections:
        if item.indices and item.indices[-1] >= PCR_COUNT:
            raise ValueError(f"a PCR of a PC client is below {PCR_COUNT}")
        bitmap = sum(1 << index for index in item.indices)
        parts.append(be(item.bank, 2) + bytes((_BITMAP_BYTES,)))
        parts.append(bitmap.to_bytes(_BITMAP_BYTES, "little"))
    return b"".join(parts)


def sized(reader: Reader, what: str) -> bytes:
    """Read a TPM2B of at most MAX_SIZED bytes."""
    size = reader.be(2, what)
    if size > MAX_SIZED:
        raise reader.malformed(f"{what}: {size} bytes, at most {MAX_SIZED} are read")
    return reader.take(size, what)


def read_hash(reader: Reader, what: str) -> HashAlg:
    """Read a TPMI_ALG_HASH."""
    value = reader.be(2, what)
    try:
        return HashAlg(value)
    except ValueError:
        raise reader.malformed(f"{what}: {value:#06x} is no known hash") from None


def read_our_hash(reader: Reader, what: str) -> HashAlg:
    """Read a TPMI_ALG_HASH that names and signatures of ours may rest on."""
    algorithm = read_hash(reader, what)
    if algorithm not in _NAME_HASHES:
        raise reader.malformed(f"{what}: {algorithm.name} is not used here")
    return algorithm


def read_selections(reader: Reader) -> tuple[PcrSelection, ...]:
    """Read a TPML_PCR_SELECTION; a bank stands in it once."""
    what = "PCR selection"
    count = reader.be(4, what)
    if count > MAX_BANKS:
        raise reader.malformed(f"{what}: {count} banks, at most {MAX_BANKS} are read")
    found: list[PcrSelection] = []
    for _ in range(count):
        bank, size = read_hash(reader, what), reader.u8(what)
        if size > _MAX_BITMAP_BYTES or any(bank is other.bank for other in found):
            raise reader.malformed(f"{what}: repeated bank, or a bitmap of {size} bytes")
        bitmap = reader.le(size, what)
        found.append(PcrSelection(bank, tuple(i for i in range(8 * size) if bitmap >> i & 1)))
    return tuple(found)


def read_digests(reader: Reader) -> tuple[bytes, ...]:
    """Read a TPML_DIGEST."""
    count = reader.be(4, "digests")
    if count > MAX_DIGESTS:
        raise reader.malformed(f"digests: {count}, at most {MAX_DIGESTS} are read")
    return tuple([sized(reader, "digest") for _ in range(count)])


def read_public(reader: Reader) -> Public:
    """Read a TPM2B_PUBLIC with something in it."""
    return parse_public(sized(reader, "public area"))


def parse_public(area: bytes) -> Public:
    """Read the head of a TPMT_PUBLIC."""
    check_budget(area, MAX_SIZED, "public area")
    reader = Reader(area)
    reader.take(2, "type")
    name_alg = read_our_hash(reader, "nameAlg")
    attributes = reader.be(4, "objectAttributes")
    auth_policy = sized(reader, "authPolicy")
    if len(auth_policy) not in (0, name_alg.size):
        raise reader.malformed("authPolicy: not a digest of the name algorithm")
    if not reader.remaining:
        raise reader.malformed("public area: no key in it")
    return Public(name_alg, attributes, auth_policy, area)


def read_ticket(reader: Reader) -> None:
    """Pass a ticket (TPMT_TK_*): tag, hierarchy, digest; none is ever used again."""
    reader.take(2 + 4, "ticket")
    sized(reader, "ticket")


def read_signature(reader: Reader) -> tuple[bytes, HashAlg]:
    """Read a TPMT_SIGNATURE; return its bytes as they came, and its hash."""
    start = reader.offset
    scheme, algorithm = reader.be(2, "signature scheme"), read_our_hash(reader, "signature hash")
    for _ in range(2 if scheme == _ECDSA else 1):
        sized(reader, "signature")
    return reader.since(start), algorithm


def parse_quoted(message: bytes) -> Quoted:
    """Read a TPMS_ATTEST that attests a quote."""
    check_budget(message, MAX_SIZED, "quote")
    reader = Reader(message)
    if reader.take(len(_QUOTE), "quote") != _QUOTE:
        raise MalformedEvidence(0, "quote: not an attestation of a quote")
    sized(reader, "qualifiedSigner")
    extra_data = sized(reader, "extraData")
    reader.take(_CLOCK_INFO, "clockInfo")
    reader.take(8, "firmwareVersion")
    quoted = Quoted(extra_data, read_selections(reader), sized(reader, "pcrDigest"))
    reader.finish()
    return quoted
