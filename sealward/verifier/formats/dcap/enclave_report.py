"""The SGX enclave report: the body of an SGX quote, and what a quoting enclave says of itself.

Intel SGX SDK `sgx_report_body_t`, 384 bytes, little-endian. Reserved ranges must be zero, so that
`encode(parse(x)) == x`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.errors import MalformedEvidence

if TYPE_CHECKING:
    from sealward.verifier.wire.reader import Reader

SIZE: Final = 384

# name, struct code, offset: the offsets are checked by a test, and read beside the specification.
FIELDS: Final = (
    ("cpu_svn", "16s", 0),
    ("misc_select", "4s", 16),
    ("reserved_20", "12s", 20),
    ("isv_ext_prod_id", "16s", 32),
    ("attributes", "16s", 48),
    ("mr_enclave", "32s", 64),
    ("reserved_96", "32s", 96),
    ("mr_signer", "32s", 128),
    ("reserved_160", "32s", 160),
    ("config_id", "64s", 192),
    ("isv_prod_id", "H", 256),
    ("isv_svn", "H", 258),
    ("config_svn", "H", 260),
    ("reserved_262", "42s", 262),
    ("isv_family_id", "16s", 304),
    ("report_data", "64s", 320),
)
_LAYOUT: Final = struct.Struct("<" + "".join(code for _, code, _ in FIELDS))
_NAMES: Final = tuple(name for name, _, _ in FIELDS)
_RESERVED: Final = tuple((name, at) for name, _, at in FIELDS if name.startswith("reserved_"))

FLAGS: Final = (
    ("init", 0),
    ("debug", 1),
    ("mode64", 2),
    ("provision_key", 4),
    ("einittoken_key", 5),
    ("kss", 7),
)
_DEBUG: Final = 1 << 1
_FLAGS_SIZE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveReport:
    """A parsed report; field names are the specification's.

    Attributes:
        cpu_svn, misc_select, isv_ext_prod_id, isv_family_id: as stored, 16, 4, 16 and 16 bytes.
        attributes: 8 bytes of flags, then 8 of XFRM.
        mr_enclave, mr_signer: SHA-256 digests.
        config_id, report_data: 64 bytes.
    """

    cpu_svn: bytes
    misc_select: bytes
    isv_ext_prod_id: bytes
    attributes: bytes
    mr_enclave: bytes
    mr_signer: bytes
    config_id: bytes
    isv_prod_id: int
    isv_svn: int
    config_svn: int
    isv_family_id: bytes
    report_data: bytes = field(repr=False)

    @property
    def debug(self) -> bool:
        """Whether a debugger may read and write the enclave."""
        return bool(self._flags & _DEBUG)

    @property
    def flags(self) -> tuple[tuple[str, bool], ...]:
        """The known attribute flags."""
        flags = self._flags
        return tuple((name, bool(flags >> bit & 1)) for name, bit in FLAGS)

    @property
    def _flags(self) -> int:
        return int.from_bytes(self.attributes[:_FLAGS_SIZE], "little")


def read(reader: Reader, what: str) -> EnclaveReport:
    """Read one report.

    Raises:
        MalformedEvidence: too short, or reserved bytes are set.
    """
    base = reader.offset
    values = dict(zip(_NAMES, reader.unpack(_LAYOUT, what), strict=True))
    for name, at in _RESERVED:
        if values.pop(name).strip(b"\0"):
            raise MalformedEvidence(base + at, f"{what}: reserved bytes are not zero")
    return EnclaveReport(**values)


def encode(report: EnclaveReport) -> bytes:
    """Return the bytes that parse to `report`."""
    return _LAYOUT.pack(*(getattr(report, name, b"") for name in _NAMES))
