"""The SEV-SNP attestation report, bytes to fields and back (AMD 56860, table 23; all numbers LE).

Nothing is verified here. `encode(parse(x)) == x` for every x that parses: reserved ranges must be
zero, so no byte is dropped, and a layout newer than the versions we know is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

REPORT_SIZE: Final = 0x4A0
SIGNED_SIZE: Final = 0x2A0
VERSIONS: Final = (2, 3, 4, 5)
HOST_REQUESTED_VMPL: Final = 0xFFFFFFFF
NO_MIGRATION_AGENT: Final = b"\xff" * 32

# name, struct code, offset: the offsets are checked by a test, and read beside the specification.
FIELDS: Final = (
    ("version", "I", 0x000),
    ("guest_svn", "I", 0x004),
    ("policy", "Q", 0x008),
    ("family_id", "16s", 0x010),
    ("image_id", "16s", 0x020),
    ("vmpl", "I", 0x030),
    ("signature_algo", "I", 0x034),
    ("current_tcb", "8s", 0x038),
    ("platform_info", "Q", 0x040),
    ("key_info", "I", 0x048),
    ("reserved_04c", "4s", 0x04C),
    ("report_data", "64s", 0x050),
    ("measurement", "48s", 0x090),
    ("host_data", "32s", 0x0C0),
    ("id_key_digest", "48s", 0x0E0),
    ("author_key_digest", "48s", 0x110),
    ("report_id", "32s", 0x140),
    ("report_id_ma", "32s", 0x160),
    ("reported_tcb", "8s", 0x180),
    ("cpuid_family", "B", 0x188),
    ("cpuid_model", "B", 0x189),
    ("cpuid_stepping", "B", 0x18A),
    ("reserved_18b", "21s", 0x18B),
    ("chip_id", "64s", 0x1A0),
    ("committed_tcb", "8s", 0x1E0),
    ("current_build", "3s", 0x1E8),
    ("reserved_1eb", "1s", 0x1EB),
    ("committed_build", "3s", 0x1EC),
    ("reserved_1ef", "1s", 0x1EF),
    ("launch_tcb", "8s", 0x1F0),
    ("launch_mit_vector", "Q", 0x1F8),
    ("current_mit_vector", "Q", 0x200),
    ("reserved_208", "152s", 0x208),
    ("signature_r", "72s", 0x2A0),
    ("signature_s", "72s", 0x2E8),
    ("reserved_330", "368s", 0x330),  # not signed, so not allowed to say anything
)
_LAYOUT: Final = struct.Struct("<" + "".join(code for _, code, _ in FIELDS))

POLICY_FLAGS: Final = (
    ("smt_allowed", 16),
    ("migrate_ma", 18),
    ("debug", 19),
    ("single_socket", 20),
    ("cxl_allowed", 21),
    ("mem_aes_256_xts", 22),
    ("rapl_disabled", 23),
    ("ciphertext_hiding", 24),
    ("page_swap_disabled", 25),
)
# Bits beyond these are not refused: bit 6 is reserved in every source we know and set by real Turin
# firmware. They are in `platform_info`, so a policy of a later version can still look at them.
PLATFORM_FLAGS: Final = (
    ("smt_enabled", 0),
    ("tsme_enabled", 1),
    ("ecc_enabled", 2),
    ("rapl_disabled", 3),
    ("ciphertext_hiding", 4),
    ("alias_check_complete", 5),
    ("tio_enabled", 7),
)

_POLICY_MASKS: Final = tuple((name, 1 << bit) for name, bit in POLICY_FLAGS)
_PLATFORM_MASKS: Final = tuple((name, 1 << bit) for name, bit in PLATFORM_FLAGS)

_FIRST_VERSION_WITH_CPUID: Final = 3
_FIRST_VERSION_WITH_MITIGATIONS: Final = 5
_POLICY_MUST_BE_ONE: Final = 1 << 17
_POLICY_MIGRATE: Final = 1 << 18
_POLICY_DEBUG: Final = 1 << 19
_POLICY_KNOWN: Final = (1 << 26) - 1
_PLATFORM_SMT: Final = 1 << 0
_KEY_INFO_KNOWN: Final = 0b11111
_ECDSA_P384_SHA384: Final = 1
_HIGHEST_VMPL: Final = 3
_SIGNATURE_COMPONENT: Final = 72
_ZERO_DIGEST: Final = bytes(48)


@unique
class SigningKey(IntEnum):
    """Which key the firmware says it signed with."""

    VCEK = 0
    VLEK = 1
    NONE = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A parsed and unverified report; field names are the specification's.

    Attributes:
        current_tcb, reported_tcb, committed_tcb, launch_tcb: 8 bytes each, whose meaning depends on
            the product (`tcb.decode`).
        cpuid_family: extended plus base family; zero, like the model and stepping, in version 2.
        current_build, committed_build: firmware versions as (major, minor, build).
        launch_mit_vector, current_mit_vector: zero before version 5.
        signature_r, signature_s: as numbers.
    """

    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    signature_algo: int
    current_tcb: bytes
    platform_info: int
    author_key_enabled: bool
    mask_chip_key: bool
    signing_key: SigningKey
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    cpuid_family: int
    cpuid_model: int
    cpuid_stepping: int
    chip_id: bytes
    committed_tcb: bytes
    current_build: tuple[int, int, int]
    committed_build: tuple[int, int, int]
    launch_tcb: bytes
    launch_mit_vector: int
    current_mit_vector: int
    signature_r: int = field(repr=False)
    signature_s: int = field(repr=False)

    @property
    def abi(self) -> tuple[int, int]:
        """The least firmware ABI (major, minor) that the policy demands."""
        return self.policy >> 8 & 0xFF, self.policy & 0xFF

    @property
    def debug(self) -> bool:
        """Whether the guest policy lets the host read and write the guest."""
        return bool(self.policy & _POLICY_DEBUG)

    @property
    def smt_enabled(self) -> bool:
        """Whether sibling threads are on, whatever the guest policy allows."""
        return bool(self.platform_info & _PLATFORM_SMT)

    @property
    def migratable(self) -> bool:
        """Whether a migration agent is allowed, or associated already."""
        return bool(self.policy & _POLICY_MIGRATE) or self.report_id_ma != NO_MIGRATION_AGENT

    @property
    def policy_flags(self) -> tuple[tuple[str, bool], ...]:
        """The guest policy bit by bit."""
        policy = self.policy
        return tuple([(name, bool(policy & mask)) for name, mask in _POLICY_MASKS])

    @property
    def platform_flags(self) -> tuple[tuple[str, bool], ...]:
        """The known bits of PLATFORM_INFO."""
        info = self.platform_info
        return tuple([(name, bool(info & mask)) for name, mask in _PLATFORM_MASKS])

    @property
    def has_cpuid(self) -> bool:
        """Whether this version of the report names the processor."""
        return self.version >= _FIRST_VERSION_WITH_CPUID

    @property
    def has_mitigations(self) -> bool:
        """Whether this version of the report has mitigation vectors."""
        return self.version >= _FIRST_VERSION_WITH_MITIGATIONS


def parse(data: bytes) -> Report:
    """Read a report of version 2 to 5.

    Raises:
        MalformedEvidence: another size or version, or a value the specification does not have.
    """
    reader = Reader(data)
    values = dict(zip(_NAMES, reader.unpack(_LAYOUT, "SNP report"), strict=True))
    reader.finish()
    for name, offset in _RESERVED:
        if values.pop(name).strip(b"\0"):
            raise MalformedEvidence(offset, "SNP report: reserved bytes are not zero")
    if values["version"] not in VERSIONS:
        raise MalformedEvidence(0, f"VERSION {values['version']}: only 2 to 5 are known")
    key_info: int = values.pop("key_info")
    values["author_key_enabled"] = bool(key_info & 1)
    values["mask_chip_key"] = bool(key_info & 2)
    values["signing_key"] = _signing_key(key_info)
    for name in ("current_build", "committed_build"):
        values[name] = _build(values[name])
    for name in ("signature_r", "signature_s"):
        values[name] = int.from_bytes(values[name], "little")
    report = Report(**values)
    _check(report)
    return report


def encode(report: Report) -> bytes:
    """Return the bytes that parse to `report`."""
    values = {name: getattr(report, name, b"") for name in _NAMES} | {
        "key_info": report.author_key_enabled | report.mask_chip_key << 1 | report.signing_key << 2,
        "current_build": bytes(reversed(report.current_build)),
        "committed_build": bytes(reversed(report.committed_build)),
        "signature_r": report.signature_r.to_bytes(_SIGNATURE_COMPONENT, "little"),
        "signature_s": report.signature_s.to_bytes(_SIGNATURE_COMPONENT, "little"),
    }
    return _LAYOUT.pack(*values.values())


def signed_region(data: bytes) -> bytes:
    """Return the part of a report that its signature covers.

    Raises:
        MalformedEvidence: `data` is shorter than that.
    """
    return Reader(data).take(SIGNED_SIZE, "signed region of the SNP report")


_NAMES: Final = tuple(name for name, _, _ in FIELDS)
_RESERVED: Final = tuple((name, at) for name, _, at in FIELDS if name.startswith("reserved_"))


def _signing_key(key_info: int) -> SigningKey:
    if key_info & ~_KEY_INFO_KNOWN:
        raise MalformedEvidence(0x048, "SNP report: reserved bits beside SIGNING_KEY are not zero")
    try:
        return SigningKey(key_info >> 2)
    except ValueError:
        raise MalformedEvidence(0x048, f"SIGNING_KEY {key_info >> 2} is not known") from None


def _build(stored: bytes) -> tuple[int, int, int]:
    """Return (major, minor, build) of the three bytes, which are stored build first."""
    build, minor, major = stored
    return major, minor, build


def _check(report: Report) -> None:
    """Refuse values that the specification does not have."""
    if not report.policy & _POLICY_MUST_BE_ONE or report.policy & ~_POLICY_KNOWN:
        raise MalformedEvidence(0x008, f"POLICY {report.policy:#x}: bit 17 is 1, bits 26 up are 0")
    if report.vmpl > _HIGHEST_VMPL and report.vmpl != HOST_REQUESTED_VMPL:
        raise MalformedEvidence(0x030, f"VMPL {report.vmpl} does not exist")
    if report.signature_algo != _ECDSA_P384_SHA384:
        raise MalformedEvidence(0x034, f"SIGNATURE_ALGO {report.signature_algo}: only 1 is known")
    if not report.author_key_enabled and report.author_key_digest != _ZERO_DIGEST:
        raise MalformedEvidence(0x110, "AUTHOR_KEY_DIGEST is set without AUTHOR_KEY_EN")
    cpuid = report.cpuid_family | report.cpuid_model | report.cpuid_stepping
    if cpuid and not report.has_cpuid:
        raise MalformedEvidence(0x188, "CPUID bytes are reserved before version 3")
    if report.launch_mit_vector | report.current_mit_vector and not report.has_mitigations:
        raise MalformedEvidence(0x1F8, "mitigation vectors are reserved before version 5")
