"""Quotes: SGX version 3, TDX version 4 (TD 1.0) and version 5 (TD 1.0 and 1.5).

    quote       header 48 | (5: body type u16, size u32) | body | signature data size u32 | data
    data, 3     signature 64 | key 64 | certified
    data, 4, 5  signature 64 | key 64 | type u16 = 6 | size u32 | certified
    certified   QE report 384 | its signature 64 | size u16 + authentication data
                | type u16 = 5 | size u32 | PCK chain in PEM, leaf first

Integers are little-endian, signatures raw r and s, big-endian (evidence-formats section 3).
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from sealward_devkit.dcap.platform import Tee
from sealward_devkit.dcap.reports import (
    EnclaveReport,
    TdReport,
    encode_enclave_report,
    encode_td_report_10,
    encode_td_report_15,
)

if TYPE_CHECKING:
    from sealward_devkit.dcap.platform import Platform, QuotingEnclave

HEADER_SIZE: Final = 48
_INTEL_QE: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_ECDSA_P256: Final = 2
_PCK_CHAIN, _QE_CERTIFIED = 5, 6
_QE_ATTRIBUTES: Final = bytes.fromhex("15000000000000000700000000000000")
_WITH_DESCRIPTOR: Final = 5  # the version that says what its body is


@unique
class Shape(Enum):
    """What a quote is: version, whose, and the number that version 5 gives its body."""

    SGX_3 = (3, Tee.SGX, 1)
    TDX_4 = (4, Tee.TDX, 2)
    TDX_5_TD10 = (5, Tee.TDX, 2)
    TDX_5_TD15 = (5, Tee.TDX, 3)

    def __init__(self, version: int, tee: Tee, body_type: int) -> None:
        self.version: Final = version
        self.tee: Final = tee
        self.body_type: Final = body_type


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes written over the signed part of a quote at `offset`, before it is signed."""

    offset: int
    data: bytes


def mint_quote(
    shape: Shape,
    report: TdReport | EnclaveReport,
    platform: Platform,
    enclave: QuotingEnclave,
    *patches: Patch,
) -> bytes:
    """A complete quote over `report`, signed by the enclave's key, which the platform certifies.

    Raises:
        ValueError: the report is of another kind than the shape, or a field has a wrong length.
    """
    signed = bytearray(signed_part(shape, report, platform, enclave))
    for patch in patches:
        signed[patch.offset : patch.offset + len(patch.data)] = patch.data
    data = signature_data(shape, bytes(signed), platform, enclave)
    return bytes(signed) + len(data).to_bytes(4, "little") + data


def signed_part(
    shape: Shape, report: TdReport | EnclaveReport, platform: Platform, enclave: QuotingEnclave
) -> bytes:
    """Header and body: what the attestation key signs."""
    header = _header(shape, platform, enclave)
    body = _body(shape, report)
    if shape.version < _WITH_DESCRIPTOR:
        return header + body
    descriptor = shape.body_type.to_bytes(2, "little") + len(body).to_bytes(4, "little")
    return header + descriptor + body


def signature_data(
    shape: Shape, signed: bytes, platform: Platform, enclave: QuotingEnclave
) -> bytes:
    """Everything behind the signed part, without its size."""
    key = attestation_key(enclave)
    certified = _certified(platform, enclave)
    if shape.tee is Tee.TDX:
        certified = _typed(_QE_CERTIFIED, certified)
    return raw_signature(signed, enclave.key) + key + certified


def qe_report(platform: Platform, enclave: QuotingEnclave) -> EnclaveReport:
    """The quoting enclave's own report, which commits to its attestation key."""
    committed = hashlib.sha256(attestation_key(enclave) + enclave.authentication_data).digest()
    return EnclaveReport(
        cpu_svn=platform.facts.cpu_svn,
        attributes=_QE_ATTRIBUTES,
        mr_enclave=enclave.mr_enclave,
        mr_signer=enclave.tee.qe.signer,
        isv_prod_id=enclave.tee.qe.product,
        isv_svn=enclave.svn,
        report_data=committed.ljust(64, b"\0"),
    )


def attestation_key(enclave: QuotingEnclave) -> bytes:
    """The public key as quotes carry it: x and y, 64 bytes."""
    numbers = enclave.key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def raw_signature(data: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """ECDSA with SHA-256, r and s of 32 bytes each."""
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _header(shape: Shape, platform: Platform, enclave: QuotingEnclave) -> bytes:
    # TDX quotes leave the two security versions to the QE report.
    sgx = shape.tee is Tee.SGX
    versions = (enclave.svn, platform.facts.pce_svn) if sgx else (0, 0)
    return b"".join(
        (
            shape.version.to_bytes(2, "little"),
            _ECDSA_P256.to_bytes(2, "little"),
            shape.tee.number.to_bytes(4, "little"),
            *(version.to_bytes(2, "little") for version in versions),
            _INTEL_QE,
            bytes(20),
        )
    )


def _body(shape: Shape, report: TdReport | EnclaveReport) -> bytes:
    match shape, report:
        case Shape.SGX_3, EnclaveReport():
            return encode_enclave_report(report)
        case Shape.TDX_4 | Shape.TDX_5_TD10, TdReport():
            return encode_td_report_10(report)
        case Shape.TDX_5_TD15, TdReport():
            return encode_td_report_15(report)
        case _:
            raise ValueError(f"{shape.name} quotes carry another kind of report")


def _certified(platform: Platform, enclave: QuotingEnclave) -> bytes:
    report = encode_enclave_report(qe_report(platform, enclave))
    data = enclave.authentication_data
    chain = (platform.pck, platform.platform_ca, platform.root)
    pem = "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in chain)
    return b"".join(
        (
            report,
            raw_signature(report, platform.key),
            len(data).to_bytes(2, "little"),
            data,
            _typed(_PCK_CHAIN, pem.encode() + b"\0"),
        )
    )


def _typed(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "little") + len(data).to_bytes(4, "little") + data
