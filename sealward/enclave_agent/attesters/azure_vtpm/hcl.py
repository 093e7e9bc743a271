"""The report that Azure's paravisor (HCL) leaves in NV memory.

    NV index 0x01400001, little-endian
    0x000  "HCLA", version u32, report size u32, request type u32, status u32, reserved 12
    0x020  hardware report, 1184 bytes: an SNP report, or a TDREPORT of 1024 bytes and zeros
    0x4c0  data size u32, version u32, report type u32 (2 SNP, 4 TDX),
           hash type u32 (1 SHA-256, 2 SHA-384, 3 SHA-512), claims size u32
    0x4d4  runtime claims: JSON; the hardware's report_data is their hash and zeros

The claims hold 64 bytes of the guest's choice, `user-data` in hexadecimal, from NV index
0x01400002. The paravisor renews the report when a read of it begins at offset 0, at most once in
two seconds; a renewal that is put off or fails leaves the old report, and an older paravisor
renews some seconds after the write. So each attempt writes, reads, and looks for what it wrote.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum, unique
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.tpm import errors, nv
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealward.enclave_agent.attesters.tpm.answers import NvPublic
    from sealward.enclave_agent.attesters.tpm.commands import Tpm

INDEX: Final = 0x01400001
USER_DATA_INDEX: Final = 0x01400002
MAX_REPORT: Final = 4096  # 2600 bytes today; MAX_NV_INDEX_SIZE of Azure's TPM
ATTEMPTS: Final = 4
PAUSE_S: Final = 2.5  # longer than the paravisor's two seconds; three pauses fit into a challenge

_MAGIC: Final = b"HCLA"
_HARDWARE_AT: Final = 0x20
_DATA_AT: Final = 0x4C0
_DATA: Final = Struct("<IIIII")
_CLAIMS_AT: Final = _DATA_AT + _DATA.size
_BOUND_SIZE: Final = 64
_USER_DATA_MEMBER: Final = b'"user-data"'
_HASHES: Final = MappingProxyType({1: hashlib.sha256, 2: hashlib.sha384, 3: hashlib.sha512})


@unique
class Tee(IntEnum):
    """What the hardware report is of, as the report numbers it."""

    SEV_SNP = 2
    TDX = 4

    @property
    def label(self) -> str:
        """The name for people."""
        return _LABELS[self]


_LABELS: Final = MappingProxyType({Tee.SEV_SNP: "SEV-SNP", Tee.TDX: "TDX"})
# Size of the hardware report, and where its report_data is (AMD 56860; TDX module's TDREPORT).
_HARDWARE: Final = MappingProxyType({Tee.SEV_SNP: (1184, 0x50), Tee.TDX: (1024, 0x80)})


@dataclass(frozen=True, slots=True)
class HclReport:
    """A report, taken apart as far as an attester needs; nothing of it is believed here.

    Attributes:
        tee: what made the hardware report.
        content: all of the NV index.
        hardware: SNP report (1184 bytes) or TDREPORT (1024 bytes).
        bound: its report_data (64 bytes).
        claims: the runtime claims, JSON.
        whole: whether `bound` is the hash of `claims`, as in every report that one read gave.
    """

    tee: Tee
    content: bytes = field(repr=False)
    hardware: bytes = field(repr=False)
    bound: bytes = field(repr=False)
    claims: bytes = field(repr=False)
    whole: bool

    def carries(self, user_data: bytes) -> bool:
        """Tell whether the claims hold these bytes; Azure's generations differ in letter case."""
        return user_data.hex().encode("ascii") in self.claims.lower()

    def takes_user_data(self) -> bool:
        """Tell whether this paravisor lets the guest put bytes into the claims at all."""
        return _USER_DATA_MEMBER in self.claims


def parse(content: bytes) -> HclReport:
    """Read what the NV index holds.

    Raises:
        MalformedEvidence: it is no report, or of a kind that is not known.
    """
    reader = Reader(content)
    if reader.take(len(_MAGIC), "HCL report") != _MAGIC:
        raise MalformedEvidence(0, "HCL report: no 'HCLA' at its start")
    reader.seek(_DATA_AT, "HCL report: data")
    tee, digest, size = _data(reader)
    claims = reader.take(size, "HCL report: claims")
    hardware_size, bound_at = _HARDWARE[tee]
    reader.seek(_HARDWARE_AT, "hardware report")
    hardware = reader.take(hardware_size, "hardware report")
    reader.seek(_HARDWARE_AT + bound_at, "report_data")
    bound = reader.take(_BOUND_SIZE, "report_data")
    whole = _HASHES[digest](claims).digest().ljust(_BOUND_SIZE, b"\0") == bound
    return HclReport(tee, content, hardware, bound, claims, whole)


def find(tpm: Tpm) -> NvPublic:
    """Return the NV index of the report.

    Raises:
        TpmError: there is none: this is another kind of machine; or the TPM fails.
    """
    found = nv.find(tpm, INDEX)
    if found is None or found.size < _CLAIMS_AT:
        raise TpmError(
            errors.HANDLE,
            f"This TPM holds no hardware report (NV index {INDEX:#010x}; Azure writes one where "
            "a VM has the security type ConfidentialVM).",
        )
    return found


def peek(tpm: Tpm) -> Tee:
    """Say what reports are of here; the read begins behind the start, so none is renewed.

    Raises:
        TpmError: there is no report or none that is known, or the TPM fails.
    """
    found = find(tpm)
    with _explained():
        data = nv.read_part(tpm, found, offset=_DATA_AT, size=_DATA.size)
        return _data(Reader(data, base=_DATA_AT))[0]


def fresh(tpm: Tpm, user_data: bytes, *, sleep: Callable[[float], None]) -> HclReport:
    """Return a report whose claims carry `user_data` (64 bytes), if this paravisor does that.

    Raises:
        TpmError: there is no such report, others keep writing their own data, or the TPM fails.
    """
    found = find(tpm)
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(PAUSE_S)
        nv.write(tpm, USER_DATA_INDEX, user_data)
        report = _read(tpm, found)
        if report.whole and (report.carries(user_data) or not report.takes_user_data()):
            return report
    raise TpmError(
        None,
        f"The paravisor gave no hardware report over our data in {ATTEMPTS} attempts: it made "
        f"none, or another process writes NV index {USER_DATA_INDEX:#010x} as well.",
    )


def _read(tpm: Tpm, found: NvPublic) -> HclReport:
    with _explained():
        return parse(nv.read(tpm, found, most=MAX_REPORT))


def _data(reader: Reader) -> tuple[Tee, int, int]:
    """Return report type, hash type and size of the claims."""
    _, _, tee, digest, size = reader.unpack(_DATA, "HCL report: data")
    if digest not in _HASHES:
        raise reader.malformed(f"HCL report: hash type {digest} is not known")
    try:
        return Tee(tee), digest, size
    except ValueError:
        raise reader.malformed(
            f"HCL report: report type {tee} is neither SEV-SNP nor TDX"
        ) from None


@contextmanager
def _explained() -> Iterator[None]:
    """Say of this report what goes wrong with it."""
    try:
        yield
    except MalformedEvidence as error:
        raise TpmError(None, f"The paravisor's report cannot be read: {error}.") from error
    except TpmError as error:
        if not error.says(errors.NV_UNINITIALIZED):
            raise
        raise TpmError(
            error.code,
            f"The paravisor has written no hardware report to NV index {INDEX:#010x} (only a VM "
            "of the security type ConfidentialVM gets one; if this is one, restart it).",
        ) from error
