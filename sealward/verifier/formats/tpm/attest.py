"""TPMS_ATTEST, bytes to fields and back (TPM 2.0 part 2, section 10.12). Nothing is verified here.

`encode(parse(x)) == x` for every x that parses. The magic is what makes an attestation: a
restricted key signs nothing else that starts with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final, TypeAlias

from sealward.verifier.formats.tpm import fields, pcr
from sealward.verifier.formats.tpm.pcr import PcrSelection
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget
from sealward.verifier.wire.tcg_hash import HashAlg

MAGIC: Final = b"\xffTCG"
MAX_ATTEST_BYTES: Final = 2048  # TPM2B_ATTEST of the reference implementation is below
_MAX_EXTRA_DATA: Final = 66  # TPM2B_DATA holds a TPMT_HA: identifier and a SHA-512 digest
_MAX_NV_CONTENTS: Final = 1024


@unique
class AttestType(IntEnum):
    """What a TPM attests to; time and audit attestations are of no use to us and not read."""

    NV = 0x8014
    CERTIFY = 0x8017
    QUOTE = 0x8018
    CREATION = 0x801A


@dataclass(frozen=True, slots=True)
class Quoted:
    """PCR values at one moment, by their digest."""

    selections: tuple[PcrSelection, ...]
    pcr_digest: bytes


@dataclass(frozen=True, slots=True)
class Certified:
    """An object is loaded in this TPM: its Name and its qualified Name."""

    name: bytes
    qualified_name: bytes


@dataclass(frozen=True, slots=True)
class Created:
    """An object was made by this TPM: its Name, and the digest of its creation data."""

    name: bytes
    creation_hash: bytes


@dataclass(frozen=True, slots=True)
class NvContents:
    """Bytes of an NV index."""

    index_name: bytes
    offset: int
    contents: bytes


Attested: TypeAlias = Quoted | Certified | Created | NvContents


@dataclass(frozen=True, slots=True, kw_only=True)
class Attest:
    """A parsed and unverified attestation.

    Attributes:
        qualified_signer: qualified Name of the signing key.
        extra_data: the caller's nonce.
        clock: milliseconds that the TPM has been powered since its last clear.
        reset_count: TPM resets since then; a reboot is one.
        restart_count: resumes since the last reset.
        safe: no greater clock value can have been reported before.
        firmware_version: 64 bits, the vendor's.
    """

    qualified_signer: bytes
    extra_data: bytes
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware_version: int
    attested: Attested


def parse(data: bytes) -> Attest:
    """Read a quote, certification, creation or NV attestation.

    Raises:
        MalformedEvidence: another magic or type, a value out of range, or trailing bytes.
    """
    check_budget(data, MAX_ATTEST_BYTES, "TPMS_ATTEST")
    reader = Reader(data)
    if reader.take(4, "TPMS_ATTEST magic") != MAGIC:
        raise MalformedEvidence(0, "TPMS_ATTEST: the magic is not FF544347")
    kind = fields.known(reader, AttestType, "TPMS_ATTEST type")
    attest = Attest(
        qualified_signer=fields.name(reader, "qualifiedSigner"),
        extra_data=fields.sized(reader, "extraData", most=_MAX_EXTRA_DATA),
        clock=reader.be(8, "clock"),
        reset_count=reader.be(4, "resetCount"),
        restart_count=reader.be(4, "restartCount"),
        safe=fields.boolean(reader, "clock safe"),
        firmware_version=reader.be(8, "firmwareVersion"),
        attested=_attested(reader, kind),
    )
    reader.finish()
    return attest


def encode(attest: Attest) -> bytes:
    """Return the bytes that parse to `attest`."""
    kind, tail = _tail(attest.attested)
    return b"".join(
        (
            MAGIC,
            fields.be(kind, 2),
            fields.pack(attest.qualified_signer),
            fields.pack(attest.extra_data),
            fields.be(attest.clock, 8),
            fields.be(attest.reset_count, 4),
            fields.be(attest.restart_count, 4),
            bytes((attest.safe,)),
            fields.be(attest.firmware_version, 8),
            tail,
        )
    )


def _attested(reader: Reader, kind: AttestType) -> Attested:
    if kind is AttestType.QUOTE:
        return Quoted(pcr.read_selections(reader), _digest(reader, "pcrDigest"))
    if kind is AttestType.CERTIFY:
        return Certified(fields.name(reader, "name"), fields.name(reader, "qualifiedName"))
    if kind is AttestType.CREATION:
        return Created(fields.name(reader, "objectName"), _digest(reader, "creationHash"))
    return NvContents(
        fields.name(reader, "indexName"),
        reader.be(2, "offset"),
        fields.sized(reader, "nvContents", most=_MAX_NV_CONTENTS),
    )


def _digest(reader: Reader, what: str) -> bytes:
    return fields.sized(reader, what, most=HashAlg.SHA512.size)


def _tail(attested: Attested) -> tuple[AttestType, bytes]:
    if isinstance(attested, Quoted):
        tail = pcr.pack_selections(attested.selections) + fields.pack(attested.pcr_digest)
        return AttestType.QUOTE, tail
    if isinstance(attested, Certified):
        tail = fields.pack(attested.name) + fields.pack(attested.qualified_name)
        return AttestType.CERTIFY, tail
    if isinstance(attested, Created):
        tail = fields.pack(attested.name) + fields.pack(attested.creation_hash)
        return AttestType.CREATION, tail
    tail = fields.pack(attested.index_name) + fields.be(attested.offset, 2)
    return AttestType.NV, tail + fields.pack(attested.contents)
