"""What the commands answer with: values, and the readers of their response parameters.

Each reader takes a `Reader` over the parameters, leaves nothing unread, and raises
MalformedEvidence for what its command does not answer with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.tpm import codec
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from sealward.enclave_agent.attesters.tpm.codec import HashAlg, PcrSelection, Public

CAP_PCRS: Final = 5
CAP_TPM_PROPERTIES: Final = 6


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
        update_counter: counts extends, but not those of every PCR (quote.py).
        selections: the PCRs read, which can be fewer than asked for.
        digests: their values, in the order of `selections`.
    """

    update_counter: int
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
    counter = reader.be(4, "pcrUpdateCounter")
    selections, digests = codec.read_selections(reader), codec.read_digests(reader)
    sizes = [item.bank.size for item in selections for _ in item.indices]
    if [len(digest) for digest in digests] != sizes:
        raise reader.malformed("PCR values: not those of the selection")
    return PcrReading(counter, selections, digests)


def properties(reader: Reader) -> tuple[tuple[int, int], ...]:
    """GetCapability, TPM_CAP_TPM_PROPERTIES; what is left for another call is left there."""
    _capability(reader, CAP_TPM_PROPERTIES)
    return codec.read_properties(reader)


def banks(reader: Reader) -> tuple[PcrSelection, ...]:
    """GetCapability, TPM_CAP_PCRS."""
    _capability(reader, CAP_PCRS)
    return codec.read_selections(reader)


def _capability(reader: Reader, asked: int) -> None:
    if reader.u8("moreData") > 1:
        raise reader.malformed("moreData: neither 0 nor 1")
    if reader.be(4, "capability") != asked:
        raise reader.malformed("capability: another was asked for")


def _creation(reader: Reader) -> None:
    """Pass creation data, hash and ticket: they prove creation to this TPM only."""
    codec.sized(reader, "creationData")
    codec.sized(reader, "creationHash")
    codec.read_ticket(reader)
