"""Mints SEV-SNP attestation reports, versions 2 to 5.

Every field is an argument and every byte is written at its documented offset (evidence-formats
section 2; AMD 56860, ATTESTATION_REPORT). Nothing is checked: a test that needs an impossible
report asks for one, and `Patch` reaches what no field covers.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from sealward_devkit.snp.products import CHIP_ID_SIZE, FACTS, Cpuid, Product, encode_tcb

if TYPE_CHECKING:
    from sealward_devkit.snp.products import Tcb

REPORT_SIZE: Final = 0x4A0
SIGNED_SIZE: Final = 0x2A0
_SIGNATURE_PART_SIZE: Final = 72
_FIRST_VERSION_WITH_CPUID: Final = 3
_NO_MIGRATION_AGENT: Final = b"\xff" * 32
_ECDSA_P384_SHA384: Final = 1


class Policy(IntFlag):
    """Guest policy bits; the low 16 bits are the minimum ABI (minor, then major)."""

    SMT_ALLOWED = 1 << 16
    MUST_BE_ONE = 1 << 17
    MIGRATE_MA = 1 << 18
    DEBUG = 1 << 19
    SINGLE_SOCKET = 1 << 20
    CXL_ALLOW = 1 << 21
    MEM_AES_256_XTS = 1 << 22
    RAPL_DIS = 1 << 23
    CIPHERTEXT_HIDING_DRAM = 1 << 24
    PAGE_SWAP_DISABLE = 1 << 25


class SigningKey(IntEnum):
    """Which key signed, as bits 4:2 of the key info word state it."""

    VCEK = 0
    VLEK = 1
    NONE = 7


DEFAULT_POLICY: Final = Policy.SMT_ALLOWED | Policy.MUST_BE_ONE
# SMT, ECC and the alias check that answers BadRAM, as a patched Milan host shows them.
DEFAULT_PLATFORM_INFO: Final = 0x25


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareVersion:
    """Version of the SNP firmware: API major and minor, and build, one byte each."""

    major: int = 1
    minor: int = 55
    build: int = 29


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFields:
    """All fields of a report, in the order of the structure.

    Digests and identifiers are raw bytes of their documented length (a wrong length raises
    `ValueError` when encoded); `*_tcb` are the 8 encoded bytes of TCB_VERSION, so that a product's
    layout can be used with another product's report.
    """

    version: int
    guest_svn: int = 0
    policy: int = DEFAULT_POLICY
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    vmpl: int = 0
    signature_algorithm: int = _ECDSA_P384_SHA384
    current_tcb: bytes
    platform_info: int = DEFAULT_PLATFORM_INFO
    key_info: int = 0
    report_data: bytes = bytes(64)
    measurement: bytes = bytes(48)
    host_data: bytes = bytes(32)
    id_key_digest: bytes = bytes(48)
    author_key_digest: bytes = bytes(48)
    report_id: bytes = bytes(32)
    report_id_ma: bytes = _NO_MIGRATION_AGENT
    reported_tcb: bytes
    cpuid: Cpuid | None
    chip_id: bytes
    committed_tcb: bytes
    current_firmware: FirmwareVersion = FirmwareVersion()
    committed_firmware: FirmwareVersion = FirmwareVersion()
    launch_tcb: bytes
    launch_mit_vector: int = 0
    current_mit_vector: int = 0


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes written over the encoded report at `offset`, before signing unless beyond 29F."""

    offset: int
    data: bytes


def key_info(
    signing_key: SigningKey, *, author_key: bool = False, mask_chip_key: bool = False
) -> int:
    """The word at 048."""
    return int(author_key) | int(mask_chip_key) << 1 | signing_key << 2


def typical_fields(product: Product, tcb: Tcb, *, version: int, chip_id: bytes) -> ReportFields:
    """What a guest on an up-to-date host of this product reports; all four TCBs are `tcb`.

    `chip_id` may be shorter than the 64-byte field (Turin); the rest is zero.
    """
    level = encode_tcb(product, tcb)
    return ReportFields(
        version=version,
        current_tcb=level,
        reported_tcb=level,
        cpuid=FACTS[product].cpuid if version >= _FIRST_VERSION_WITH_CPUID else None,
        chip_id=chip_id.ljust(CHIP_ID_SIZE, b"\0"),
        committed_tcb=level,
        launch_tcb=level,
    )


def mint_report(fields: ReportFields, key: ec.EllipticCurvePrivateKey, *patches: Patch) -> bytes:
    """A complete report of 4A0h bytes, signed by a VCEK or VLEK private key (P-384).

    Raises:
        ValueError: a field has not the length the structure gives it.
    """
    report = bytearray(_encode(fields))
    for patch in patches:
        _write(report, patch.offset, patch.data, len(patch.data))
    signature = _signature(bytes(report[:SIGNED_SIZE]), key)
    _write(report, SIGNED_SIZE, signature, 2 * _SIGNATURE_PART_SIZE)
    for patch in patches:
        if patch.offset >= SIGNED_SIZE:
            _write(report, patch.offset, patch.data, len(patch.data))
    return bytes(report)


def development_measurement(name: str) -> bytes:
    """A stand-in launch digest for a named image: SHA-384 under a label.

    Development only. A real MEASUREMENT is the digest of the launched pages; this one merely is
    stable, 48 bytes long and different for every name.
    """
    return hashlib.sha384(b"sealward development launch measurement\0" + name.encode()).digest()


def _encode(fields: ReportFields) -> bytes:
    report = bytearray(REPORT_SIZE)
    struct.pack_into("<IIQ", report, 0x000, fields.version, fields.guest_svn, fields.policy)
    struct.pack_into("<II", report, 0x030, fields.vmpl, fields.signature_algorithm)
    struct.pack_into("<QI", report, 0x040, fields.platform_info, fields.key_info)
    for offset, value, size in (
        (0x010, fields.family_id, 16),
        (0x020, fields.image_id, 16),
        (0x038, fields.current_tcb, 8),
        (0x050, fields.report_data, 64),
        (0x090, fields.measurement, 48),
        (0x0C0, fields.host_data, 32),
        (0x0E0, fields.id_key_digest, 48),
        (0x110, fields.author_key_digest, 48),
        (0x140, fields.report_id, 32),
        (0x160, fields.report_id_ma, 32),
        (0x180, fields.reported_tcb, 8),
        (0x1A0, fields.chip_id, CHIP_ID_SIZE),
        (0x1E0, fields.committed_tcb, 8),
        (0x1F0, fields.launch_tcb, 8),
    ):
        _write(report, offset, value, size)
    if fields.cpuid is not None:
        cpuid = fields.cpuid
        struct.pack_into("<BBB", report, 0x188, cpuid.family, cpuid.model, cpuid.stepping)
    for offset, firmware in ((0x1E8, fields.current_firmware), (0x1EC, fields.committed_firmware)):
        struct.pack_into("<BBB", report, offset, firmware.build, firmware.minor, firmware.major)
    vectors = (fields.launch_mit_vector, fields.current_mit_vector)
    struct.pack_into("<QQ", report, 0x1F8, *vectors)
    return bytes(report)


def _signature(signed: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """R then S, each a little-endian integer in 72 bytes of which P-384 fills 48."""
    r, s = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA384())))
    return b"".join(part.to_bytes(_SIGNATURE_PART_SIZE, "little") for part in (r, s))


def _write(report: bytearray, offset: int, value: bytes, size: int) -> None:
    """Put `value` at `offset`; assigning a slice of another length would silently resize."""
    if len(value) != size:
        raise ValueError(f"the field at {offset:#05x} takes {size} bytes, not {len(value)}")
    if offset + size > len(report):
        raise ValueError(f"{size} bytes at {offset:#05x} reach beyond the report")
    report[offset : offset + size] = value
