"""The bodies of quotes: TD reports 1.0 and 1.5, and SGX enclave reports.

Every field is an argument and every byte is written at its documented place (evidence-formats
section 3). Nothing is checked but lengths: a test that needs an impossible report asks for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ENCLAVE_REPORT_SIZE: Final = 384
TD_REPORT_10_SIZE: Final = 584
TD_REPORT_15_SIZE: Final = 648

SEPT_VE_DISABLE: Final = 1 << 28  # no exception of the host's making inside the domain
DEBUG: Final = 1 << 0

_REGISTERS: Final = 4
_DIGEST: Final = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """A TD report; digests are 48 raw bytes, `report_data` is 64.

    Attributes:
        tee_tcb_svn: 16 security version numbers; [0] and [1] are those of the TDX module, where
            [1] above zero is its major version.
        seam_attributes, td_attributes, xfam: integers of 64 bits.
        rtmrs: the four run-time registers.
        tee_tcb_svn2, mr_service_td: what TD 1.5 adds.
    """

    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes = bytes(_DIGEST)
    seam_attributes: int = 0
    td_attributes: int = SEPT_VE_DISABLE
    xfam: int = 0x602E7
    mr_td: bytes
    mr_config_id: bytes = bytes(_DIGEST)
    mr_owner: bytes = bytes(_DIGEST)
    mr_owner_config: bytes = bytes(_DIGEST)
    rtmrs: tuple[bytes, ...] = (bytes(_DIGEST),) * _REGISTERS
    report_data: bytes = bytes(64)
    tee_tcb_svn2: bytes = bytes(16)
    mr_service_td: bytes = bytes(_DIGEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveReport:
    """An SGX report, as quotes carry it: without key id and MAC."""

    cpu_svn: bytes
    misc_select: int = 0
    isv_ext_prod_id: bytes = bytes(16)
    attributes: bytes = bytes.fromhex("0500000000000000e700000000000000")  # INIT, MODE64; XFRM
    mr_enclave: bytes
    mr_signer: bytes
    config_id: bytes = bytes(64)
    isv_prod_id: int = 0
    isv_svn: int = 0
    config_svn: int = 0
    isv_family_id: bytes = bytes(16)
    report_data: bytes = bytes(64)


def encode_td_report_10(report: TdReport) -> bytes:
    """TD report 1.0, 584 bytes.

    Raises:
        ValueError: a field has not the length that the structure gives it.
    """
    if len(report.rtmrs) != _REGISTERS:
        raise ValueError("a TD has four run-time registers")
    return b"".join(
        (
            exactly(report.tee_tcb_svn, 16),
            exactly(report.mr_seam, _DIGEST),
            exactly(report.mr_signer_seam, _DIGEST),
            _u64(report.seam_attributes),
            _u64(report.td_attributes),
            _u64(report.xfam),
            exactly(report.mr_td, _DIGEST),
            exactly(report.mr_config_id, _DIGEST),
            exactly(report.mr_owner, _DIGEST),
            exactly(report.mr_owner_config, _DIGEST),
            *(exactly(value, _DIGEST) for value in report.rtmrs),
            exactly(report.report_data, 64),
        )
    )


def encode_td_report_15(report: TdReport) -> bytes:
    """TD report 1.5, 648 bytes. Raises ValueError as `encode_td_report_10` does."""
    more = exactly(report.tee_tcb_svn2, 16) + exactly(report.mr_service_td, _DIGEST)
    return encode_td_report_10(report) + more


def encode_enclave_report(report: EnclaveReport) -> bytes:
    """An enclave report, 384 bytes.

    Raises:
        ValueError: a field has not the length that the structure gives it.
    """
    return b"".join(
        (
            exactly(report.cpu_svn, 16),
            report.misc_select.to_bytes(4, "little"),
            bytes(12),
            exactly(report.isv_ext_prod_id, 16),
            exactly(report.attributes, 16),
            exactly(report.mr_enclave, 32),
            bytes(32),
            exactly(report.mr_signer, 32),
            bytes(32),
            exactly(report.config_id, 64),
            report.isv_prod_id.to_bytes(2, "little"),
            report.isv_svn.to_bytes(2, "little"),
            report.config_svn.to_bytes(2, "little"),
            bytes(42),
            exactly(report.isv_family_id, 16),
            exactly(report.report_data, 64),
        )
    )


def exactly(value: bytes, size: int) -> bytes:
    """The value, which must have this size; ValueError otherwise."""
    if len(value) != size:
        raise ValueError(f"a field of {size} bytes was given {len(value)}")
    return value


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "little")
