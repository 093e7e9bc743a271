"""The TD report: the body of a TDX quote (Intel TDX DCAP quoting library API, appendix 3.3).

Version 1.0 has 584 bytes; 1.5 adds the TCB of the module that runs now, for a TD can outlive an
update of the module it was launched under, and the hash of service TDs. Nothing is verified here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.errors import MalformedEvidence

if TYPE_CHECKING:
    from sealward.verifier.wire.reader import Reader

SIZE_1_0: Final = 584
SIZE_1_5: Final = 648

# name, struct code, offset: the offsets are checked by a test, and read beside the specification.
FIELDS_1_0: Final = (
    ("tee_tcb_svn", "16s", 0),
    ("mr_seam", "48s", 16),
    ("mr_signer_seam", "48s", 64),
    ("seam_attributes", "8s", 112),
    ("td_attributes", "8s", 120),
    ("xfam", "8s", 128),
    ("mr_td", "48s", 136),
    ("mr_config_id", "48s", 184),
    ("mr_owner", "48s", 232),
    ("mr_owner_config", "48s", 280),
    ("rtmr0", "48s", 328),
    ("rtmr1", "48s", 376),
    ("rtmr2", "48s", 424),
    ("rtmr3", "48s", 472),
    ("report_data", "64s", 520),
)
FIELDS_1_5: Final = (
    *FIELDS_1_0,
    ("tee_tcb_svn2", "16s", 584),
    ("mr_service_td", "48s", 600),
)
_LAYOUT_1_0: Final = struct.Struct("<" + "".join(code for _, code, _ in FIELDS_1_0))
_LAYOUT_1_5: Final = struct.Struct("<" + "".join(code for _, code, _ in FIELDS_1_5))
_NAMES_1_0: Final = tuple(name for name, _, _ in FIELDS_1_0)
_NAMES_1_5: Final = tuple(name for name, _, _ in FIELDS_1_5)
_TD_ATTRIBUTES_AT: Final = 120

# Intel TDX module 1.5 ABI, ATTRIBUTES; the names are those of Linux (asm/shared/tdx.h).
ATTRIBUTES: Final = (
    ("debug", 0),
    ("hgs_plus_prof", 4),
    ("perf_prof", 5),
    ("pmt_prof", 6),
    ("icssd", 16),
    ("lass", 27),
    ("sept_ve_disable", 28),
    ("migratable", 29),
    ("pks", 30),
    ("kl", 31),
    ("tpa", 62),
    ("perfmon", 63),
)
_MASKS: Final = tuple((name, 1 << bit) for name, bit in ATTRIBUTES)
_KNOWN: Final = sum(1 << bit for _, bit in ATTRIBUTES)
_UNTRUSTED: Final = (
    0xFF  # "TD under debug": with any of these the TD's secrets are open to the host
)
_MIGRATABLE: Final = 1 << 29
_NO_SERVICE_TD: Final = bytes(48)


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """A parsed report; field names are the specification's, and byte strings are as stored.

    Attributes:
        tee_tcb_svn: TCB of the module and platform when the TD was launched, 16 components.
        mr_seam, mr_signer_seam, seam_attributes: the TDX module; zero signer for Intel's.
        mr_config_id, mr_owner, mr_owner_config: what was said at launch of configuration and owner.
        tee_tcb_svn2: TCB of the module that runs now; None in version 1.0.
        mr_service_td: hash of the bound service TDs, zero for none; None in version 1.0.
    """

    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmr0: bytes
    rtmr1: bytes
    rtmr2: bytes
    rtmr3: bytes
    report_data: bytes = field(repr=False)
    tee_tcb_svn2: bytes | None = None
    mr_service_td: bytes | None = None

    @property
    def version(self) -> str:
        """The version of the report, "1.0" or "1.5": not that of the module."""
        return "1.0" if self.tee_tcb_svn2 is None else "1.5"

    @property
    def rtmrs(self) -> tuple[bytes, bytes, bytes, bytes]:
        """The four run-time registers, SHA-384."""
        return self.rtmr0, self.rtmr1, self.rtmr2, self.rtmr3

    @property
    def debug(self) -> bool:
        """Whether the TD is under debug: any attribute of that group opens it to the host."""
        return bool(_number(self.td_attributes) & _UNTRUSTED)

    @property
    def migratable(self) -> bool:
        """Whether the TD may be migrated, or a service TD is bound that could do it."""
        bound = self.mr_service_td is not None and self.mr_service_td != _NO_SERVICE_TD
        return bound or bool(_number(self.td_attributes) & _MIGRATABLE)

    @property
    def flags(self) -> tuple[tuple[str, bool], ...]:
        """The known attributes."""
        attributes = _number(self.td_attributes)
        return tuple([(name, bool(attributes & mask)) for name, mask in _MASKS])


def read(reader: Reader, size: int) -> TdReport:
    """Read one report of SIZE_1_0 or SIZE_1_5 bytes.

    Raises:
        MalformedEvidence: too short, or attributes are set that no specification names.
    """
    base = reader.offset
    layout, names = (_LAYOUT_1_5, _NAMES_1_5) if size == SIZE_1_5 else (_LAYOUT_1_0, _NAMES_1_0)
    values = dict(zip(names, reader.unpack(layout, "TD report"), strict=True))
    if _number(values["td_attributes"]) & ~_KNOWN:
        raise MalformedEvidence(base + _TD_ATTRIBUTES_AT, "TD ATTRIBUTES: unknown bits are set")
    return TdReport(**values)


def encode(report: TdReport) -> bytes:
    """Return the bytes that parse to `report`."""
    if report.tee_tcb_svn2 is None:
        return _LAYOUT_1_0.pack(*(getattr(report, name) for name in _NAMES_1_0))
    return _LAYOUT_1_5.pack(*(getattr(report, name) for name in _NAMES_1_5))


def _number(stored: bytes) -> int:
    return int.from_bytes(stored, "little")
