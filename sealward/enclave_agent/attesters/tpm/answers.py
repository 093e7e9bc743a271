"""What the commands answer with: values, and the readers of their response parameters.

Each reader takes a `Reader` over the parameters, leaves nothing unread, and raises
MalformedEvidence for what its command does not answer with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealward.enclave_agent.attesters.tpm import codec
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from sealward.enclave_agent.attesters.tpm.codec import HashAlg, PcrSelection, Public


@dataclass(frozen=True, slots=True)
class Loaded:
    """An object in the TPM, transient or persistent."""

    handle: int
    public: Public


@dataclass(frozen=True, slots=True)
class Created:
    """An object outside the TPM; only its parent in the same TPM can load it.

    Attributes:
        private: inside of the TPM2B_PRIVATE, encrypted by the parent.
        public: its public area.
    """

    private: bytes = field(repr=False)
    public: Public


@dataclass(frozen=True, slots=True)
class NvPublic:
    """An NV index: TPMA_NV (32 bits) and how many bytes it has."""

    index: int
    attributes: int
    size: int


@dataclass(frozen=True, slots=True)
class SignedQuote:
    """A quote as the TPM made it: TPMS_ATTEST, TPMT_SIGNATURE and the hash of the signature."""

    message: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    hash: HashAlg


@dataclass(frozen=True, slots=True)
class PcrReading:
    """What one PCR_Read gave.

    Attributes:
        selections: the PCRs read, which can be fewer than asked for.
        digests: their values, in the order of `selections`.
    """

    selections: tuple[PcrSelection, ...]
    digests: tuple[bytes, ...]


def primary(reader: Reader) -> Public:
    """CreatePrimary: public area, creation data, hash and ticket, Name."""
    public = codec.read_public(reader)
    _creation(reader)
    name_of(reader, public)
    return public


def created(reader: Reader) -> Created:
    """Create: private and public area, creation data, hash and ticket."""
    private = codec.sized(reader, "private area")
    public = codec.read_public(reader)
    _creation(reader)
    return Created(private, public)


def name_of(reader: Reader, public: Public) -> None:
    """Load: the Name, which must be that of `public`."""
    if codec.sized(reader, "name") != public.name:
        raise reader.malformed("name: not that of the public area")


def read_public(reader: Reader) -> Public:
    """ReadPublic: public area, Name, qualified Name."""
    public = codec.read_public(reader)
    name_of(reader, public)
    codec.sized(reader, "qualified name")
    return public


def nv_public(reader: Reader, index: int) -> NvPublic:
    """NV_ReadPublic: TPM2B_NV_PUBLIC and the Name."""
    inside = Reader(codec.sized(reader, "NV public area"))
    if inside.be(4, "nvIndex") != index:
        raise reader.malformed("nvIndex: another was asked for")
    codec.read_hash(inside, "nameAlg")
    attributes = inside.be(4, "NV attributes")
    codec.sized(inside, "authPolicy")
    size = inside.be(2, "dataSize")
    inside.finish()
    codec.sized(reader, "name")
    return NvPublic(index, attributes, size)


def authorised(reader: Reader) -> None:
    """PolicySecret: a timeout and a ticket, both without use for an expiration of 0."""
    codec.sized(reader, "timeout")
    codec.read_ticket(reader)


def signed_quote(reader: Reader) -> SignedQuote:
    """Quote: TPM2B_ATTEST and a signature."""
    message = codec.sized(reader, "quoted")
    signature, algorithm = codec.read_signature(reader)
    return SignedQuote(message, signature, algorithm)


def pcr_reading(reader: Reader) -> PcrReading:
    """PCR_Read: update counter, selection, one digest of the bank's size for each PCR of it."""
    reader.take(4, "pcrUpdateCounter")  # of extends, but not those of every PCR (quote.py)
    selections, digests = codec.read_selections(reader), codec.read_digests(reader)
    sizes = [item.bank.size for item in selections for _ in item.indices]
    if [len(digest) for digest in digests] != sizes:
        raise reader.malformed("PCR values: not those of the selection")
    return PcrReading(selections, digests)


def _creation(reader: Reader) -> None:
    """Pass creation data, hash and ticket: they prove creation to this TPM only."""
    codec.sized(reader, "creationData")
    codec.sized(reader, "creationHash")
    codec.read_ticket(reader)
