"""A DCAP quote, bytes to fields and back (Intel SGX and TDX DCAP quoting library API, appendices).

    header       48 bytes: version 3, 4 or 5
    descriptor   version 5 only: body type (u16) and size (u32)
    body         SGX enclave report (384), TD report 1.0 (584) or 1.5 (648)
    signature    u32 length, then the ECDSA P-256 signature, the attestation key, and what certifies
                 that key; versions 4 and 5 put the latter into an envelope of its own (type 6)
    padding      zeros, as configfs puts them behind

The signature covers header, descriptor and body. What lies behind the signature data is covered by
nothing: zeros are padding, anything else is refused. Nothing is verified here.
`encode(parse(x)) == x` for every x that parses.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Final, TypeAlias

from sealward.verifier.formats.dcap import enclave_report, td_report
from sealward.verifier.formats.dcap.enclave_report import EnclaveReport
from sealward.verifier.formats.dcap.td_report import TdReport
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget

MAX_QUOTE_BYTES: Final = 64 * 1024  # real ones have 5 KB, padded 8 KB
INTEL_QE_VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
VERSIONS: Final = (3, 4, 5)
HEADER_SIZE: Final = 48

Body: TypeAlias = EnclaveReport | TdReport

_HEADER: Final = struct.Struct("<HHIHH16s20s")
_DESCRIPTOR: Final = struct.Struct("<HI")
_VERSION_WITHOUT_TEE_TYPE: Final = 3
_VERSION_WITH_DESCRIPTOR: Final = 5
_ECDSA_P256: Final = 2
_PCK_CHAIN_PEM: Final = 5
_QE_REPORT_CERTIFICATION: Final = 6
_SIGNATURE_SIZE: Final = 64
_KEY_SIZE: Final = 64


@unique
class TeeType(IntEnum):
    """What made the report in the quote."""

    SGX = 0x00
    TDX = 0x81


# body type of a version 5 descriptor: what it holds, and its size
_BODIES: Final = {
    1: (TeeType.SGX, enclave_report.SIZE),
    2: (TeeType.TDX, td_report.SIZE_1_0),
    3: (TeeType.TDX, td_report.SIZE_1_5),
}
_BODY_TYPES: Final = {size: number for number, (_, size) in _BODIES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The quote's header.

    Attributes:
        version: 3 (SGX), 4 or 5.
        tee_type: in version 3 a reserved field of zeros, which is SGX.
        qe_svn, pce_svn: as the quoting enclave wrote them; zero for TDX.
        user_data: 20 bytes, the quoting enclave's.
    """

    version: int
    tee_type: TeeType
    qe_svn: int
    pce_svn: int
    user_data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Certification:
    """The attestation key, and the quoting enclave's report that vouches for it.

    Attributes:
        key: x and y of a P-256 point, 32 bytes each, big-endian.
        qe_report: the report of the quoting enclave.
        qe_report_raw: the same as stored: the bytes that the PCK signs.
        qe_signature: r and s over it.
        qe_auth_data: hashed with the key into the report's report_data.
        pck_chain: PEM text, leaf first, as stored: often with a NUL behind.
    """

    key: bytes = field(repr=False)
    qe_report: EnclaveReport
    qe_report_raw: bytes = field(repr=False)
    qe_signature: bytes = field(repr=False)
    qe_auth_data: bytes = field(repr=False)
    pck_chain: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A parsed and unverified quote.

    Attributes:
        signed: header, descriptor and body as stored.
        signature: r and s, 32 bytes each, big-endian.
        padding: number of zero bytes behind.
    """

    header: Header
    body: Body
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    certification: Certification
    padding: int


def looks_like(data: bytes) -> bool:
    """Whether `data` starts as a quote of Intel's quoting enclave; says nothing about the rest."""
    if len(data) < HEADER_SIZE:
        return False
    version, key_type, _, _, _, vendor, _ = Reader(data).unpack(_HEADER, "header")
    return version in VERSIONS and key_type == _ECDSA_P256 and vendor == INTEL_QE_VENDOR


def tee_type(data: bytes) -> TeeType:
    """Return what a quote says made its report; nothing but its header is read.

    Raises:
        MalformedEvidence: the header is not that of a quote.
    """
    return _header(Reader(data)).tee_type


def parse(data: bytes) -> Quote:
    """Read a quote of version 3, 4 or 5.

    Raises:
        MalformedEvidence: anything else, or beyond MAX_QUOTE_BYTES.
    """
    check_budget(data, MAX_QUOTE_BYTES, "quote")
    reader = Reader(data)
    header = _header(reader)
    size = _body_size(reader, header)
    body: Body
    if header.tee_type is TeeType.TDX:
        body = td_report.read(reader, size)
    else:
        body = enclave_report.read(reader, "SGX report")
    signed = reader.since(0)
    signature_data = reader.take(reader.le(4, "signature data length"), "signature data")
    inner = Reader(signature_data, base=reader.offset - len(signature_data))
    signature = inner.take(_SIGNATURE_SIZE, "signature")
    certification = _certification(inner, header.version)
    inner.finish()
    padding = reader.remaining
    reader.must_be_zero(padding, "padding behind the quote")
    return Quote(
        header=header,
        body=body,
        signed=signed,
        signature=signature,
        certification=certification,
        padding=padding,
    )


def encode(quote: Quote) -> bytes:
    """Return the bytes that parse to `quote`; `signed` and `qe_report_raw` as they are."""
    certification = quote.certification
    inside = (
        certification.qe_report_raw
        + certification.qe_signature
        + _sized(certification.qe_auth_data, 2)
        + _PCK_CHAIN_PEM.to_bytes(2, "little")
        + _sized(certification.pck_chain, 4)
    )
    if quote.header.version != _VERSION_WITHOUT_TEE_TYPE:
        inside = _QE_REPORT_CERTIFICATION.to_bytes(2, "little") + _sized(inside, 4)
    signature_data = quote.signature + certification.key + inside
    return quote.signed + _sized(signature_data, 4) + bytes(quote.padding)


def encode_signed(header: Header, body: Body) -> bytes:
    """Return the signed region of a quote with this header and body."""
    stored = td_report.encode(body) if isinstance(body, TdReport) else enclave_report.encode(body)
    head = _HEADER.pack(
        header.version,
        _ECDSA_P256,
        header.tee_type,
        header.qe_svn,
        header.pce_svn,
        INTEL_QE_VENDOR,
        header.user_data,
    )
    if header.version == _VERSION_WITH_DESCRIPTOR:
        head += _DESCRIPTOR.pack(_BODY_TYPES[len(stored)], len(stored))
    return head + stored


def _sized(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size, "little") + data


def _header(reader: Reader) -> Header:
    version, key_type, tee_type, qe_svn, pce_svn, vendor, user_data = reader.unpack(
        _HEADER, "header"
    )
    if version not in VERSIONS:
        raise MalformedEvidence(0, f"quote version {version}: only 3 to 5 are known")
    if key_type != _ECDSA_P256:
        raise MalformedEvidence(2, f"attestation key type {key_type}: only 2 (ECDSA P-256)")
    if tee_type not in (TeeType.SGX, TeeType.TDX):
        raise MalformedEvidence(4, f"TEE type {tee_type:#x}: only 0 (SGX) and 0x81 (TDX)")
    if version == _VERSION_WITHOUT_TEE_TYPE and tee_type:
        raise MalformedEvidence(4, "reserved bytes of a version 3 header are not zero")
    if vendor != INTEL_QE_VENDOR:
        raise MalformedEvidence(12, "QE vendor: only Intel's quoting enclaves are known")
    return Header(
        version=version,
        tee_type=TeeType(tee_type),
        qe_svn=qe_svn,
        pce_svn=pce_svn,
        user_data=user_data,
    )


def _body_size(reader: Reader, header: Header) -> int:
    if header.version != _VERSION_WITH_DESCRIPTOR:
        tdx = header.tee_type is TeeType.TDX
        return td_report.SIZE_1_0 if tdx else enclave_report.SIZE
    at = reader.offset
    number, size = reader.unpack(_DESCRIPTOR, "body descriptor")
    if _BODIES.get(number) != (header.tee_type, size):
        raise MalformedEvidence(
            at, f"body type {number} of {size} bytes is none of {header.tee_type.name}"
        )
    return int(size)


def _certification(reader: Reader, version: int) -> Certification:
    key = reader.take(_KEY_SIZE, "attestation key")
    if version != _VERSION_WITHOUT_TEE_TYPE:
        _expect_type(reader, _QE_REPORT_CERTIFICATION, "certification data")
        inside = reader.le(4, "certification data size")
        if inside != reader.remaining:
            raise reader.malformed("the certification data does not fill the signature data")
    start = reader.offset
    qe_report = enclave_report.read(reader, "QE report")
    raw = reader.since(start)
    signature = reader.take(_SIGNATURE_SIZE, "QE report signature")
    auth_data = reader.take(reader.le(2, "QE authentication data size"), "QE authentication data")
    _expect_type(reader, _PCK_CHAIN_PEM, "PCK certification data")
    chain = reader.take(reader.le(4, "PCK chain size"), "PCK chain")
    return Certification(
        key=key,
        qe_report=qe_report,
        qe_report_raw=raw,
        qe_signature=signature,
        qe_auth_data=auth_data,
        pck_chain=chain,
    )


def _expect_type(reader: Reader, expected: int, what: str) -> None:
    at = reader.offset
    number = reader.le(2, f"{what} type")
    if number != expected:
        raise MalformedEvidence(at, f"{what} of type {number}: only type {expected} is read")
