"""SEV-SNP reports through /dev/sev-guest, for kernels without configfs-tsm (Linux 5.19 to 6.6).

One ioctl, SNP_GET_EXT_REPORT, gives the report and the host's certificate table. Its structures
(kernel: include/uapi/linux/sev-guest.h; x86-64, so little-endian):

    snp_guest_request_ioctl  msg_version u8, pad 7, req_data u64, resp_data u64, exitinfo2 u64
    snp_ext_report_req       user_data 64, vmpl u32, zero 28, certs_address u64, certs_len u32,
                             pad 4
    snp_report_resp          4000 bytes: MSG_REPORT_RSP of the firmware ABI (AMD 56860): status
                             u32, report size u32, reserved 24, the report

exitinfo2 holds the firmware's error below, the hypervisor's above. The kernel itself asks a
hypervisor that throttles again, for up to 60 s; what comes back as busy nonetheless is asked again
here. After any other error the kernel closes its channel for good.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.devices import Buffer, iowr
from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealward.enclave_agent.attesters.devices import Device

PATH: Final = "/dev/sev-guest"
REPORT_SIZE: Final = 1184
MAX_TABLE: Final = 0x4000  # SEV_FW_BLOB_MAX_SIZE: the driver refuses to take more
ATTEMPTS: Final = 8
PAUSE_S: Final = 2.0  # as the kernel's own; hosts hand out some ten reports in ten seconds

_REQUEST: Final = struct.Struct("<B7xQQQ")
_EXT_REPORT: Final = struct.Struct("<64sI28xQI4x")
_RESPONSE_SIZE: Final = 4000
_RESPONSE_RESERVED: Final = 24
_EXITINFO2_AT: Final = 24
_MESSAGE_VERSION: Final = 1
_VMPL: Final = 0  # kernels of this interface alone run at the highest level
SNP_GET_EXT_REPORT: Final = iowr(ord("S"), 2, _REQUEST.size)

_VMM_TABLE_TOO_LARGE: Final = 1
_VMM_BUSY: Final = 2
_BUSY: Final = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR})
# The driver's own preset of exitinfo2: the firmware was not reached (0xff, or -1 in 32 bits).
_NOT_REACHED: Final = frozenset({0, 0xFF, 0xFFFFFFFF})
# AMD 56860 "Status Codes", those that a report request can meet.
_FIRMWARE: Final = MappingProxyType(
    {
        0x01: "the platform is not in a state for it",
        0x02: "the guest is not in a state for it",
        0x0A: "the request's signature is bad",
        0x0B: "the request was changed on its way",
        0x10: "it does not know this guest",
        0x13: "its hardware failed, safely",
        0x14: "its hardware failed, unsafely",
        0x16: "a parameter is not allowed, such as level 0 for a guest below it",
        0x17: "it has no resources left",
        0x1D: "the message counter has run out, and this guest must be started anew",
        0x22: "its firmware is of another version",
        0x23: "its firmware must be shut down first",
        0x25: "its firmware must be restored first",
        0x27: "it has no such signing key",
    }
)


@dataclass(frozen=True, slots=True)
class ExtendedReport:
    """A report (1184 bytes) and the certificate table that came with it, maybe all zero."""

    report: bytes = field(repr=False)
    table: bytes = field(repr=False)


class _Busy(Exception):
    """To be asked again."""


class SevGuest:
    """Makes reports through the device."""

    def __init__(self, device: Device, *, sleep: Callable[[float], None]) -> None:
        self._device: Final = device
        self._sleep: Final = sleep

    def obstacle(self) -> str | None:
        """Return a clause that says what keeps reports from being made here, or None."""
        try:
            self._device.check()
        except OSError as error:
            return _why_not_opened(self._device.path, error)
        return None

    def report(self, user_data: bytes) -> ExtendedReport:
        """Make a report that carries `user_data` (64 bytes).

        Raises:
            AttesterUnavailable: the device, the firmware or the host does not give one.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(PAUSE_S)
            try:
                return self._ask(user_data)
            except _Busy:
                continue
        raise AttesterUnavailable(
            f"The host throttles requests for reports ({ATTEMPTS} attempts in "
            f"{PAUSE_S * (ATTEMPTS - 1):.0f} s were put off)."
        )

    def _ask(self, user_data: bytes) -> ExtendedReport:
        table, response = Buffer(bytes(MAX_TABLE)), Buffer(bytes(_RESPONSE_SIZE))
        asked = _EXT_REPORT.pack(user_data, _VMPL, table.address, table.size)
        request = Buffer(asked)
        argument = bytearray(_REQUEST.pack(_MESSAGE_VERSION, request.address, response.address, 0))
        try:
            self._device.ioctl(SNP_GET_EXT_REPORT, argument)
        except OSError as error:
            raise self._failure(error, bytes(argument), request) from error
        report = _read(response.content())
        if user_data not in report:
            raise AttesterUnavailable("The security processor answered another request.")
        return ExtendedReport(report, table.content())

    def _failure(self, error: OSError, argument: bytes, request: Buffer) -> Exception:
        reader = Reader(argument)
        reader.seek(_EXITINFO2_AT, "exitinfo2")
        firmware, hypervisor = reader.le(4, "firmware error"), reader.le(4, "hypervisor error")
        if error.errno in _BUSY or hypervisor == _VMM_BUSY:
            return _Busy()
        if hypervisor == _VMM_TABLE_TOO_LARGE:
            needed = Reader(request.content())
            needed.seek(_EXT_REPORT.size - 8, "certs_len")
            return AttesterUnavailable(
                f"The host's certificate table takes {needed.le(4, 'certs_len')} bytes where the "
                f"kernel reads {MAX_TABLE}: use a kernel with configfs-tsm or ask the provider."
            )
        if hypervisor:
            return AttesterUnavailable(f"The host refused the request (error {hypervisor:#x}).")
        if firmware not in _NOT_REACHED:
            return AttesterUnavailable(_firmware_says(firmware))
        return AttesterUnavailable(f"No report: {_why_not_opened(self._device.path, error)}.")


def _read(response: bytes) -> bytes:
    """Return the report of a MSG_REPORT_RSP."""
    what = "SNP report response"
    reader = Reader(response)
    status, size = reader.le(4, what), reader.le(4, what)
    if status:
        raise AttesterUnavailable(_firmware_says(status))
    if size != REPORT_SIZE:
        raise AttesterUnavailable(
            f"The firmware's report has {size} bytes, and {REPORT_SIZE} are known."
        )
    reader.take(_RESPONSE_RESERVED, what)  # the kernel does not look at it either
    return reader.take(size, what)


def _firmware_says(status: int) -> str:
    meaning = _FIRMWARE.get(status, "see AMD 56860, status codes")
    return f"The security processor refused the request with {status:#x}: {meaning}."


def _why_not_opened(path: str, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return (
                f"there is no {path} (in a SEV-SNP guest: Linux 5.19 or later with "
                "CONFIG_SEV_GUEST and `modprobe sev-guest`)"
            )
        case errno.EACCES | errno.EPERM:
            return (
                f"this user may not open {path} (give it to the agent's group: "
                "deploy/systemd/60-sealward-tee.rules)"
            )
        case errno.ENOTTY:
            return (
                "the kernel has closed its channel to the security processor after an earlier "
                "error (only a new start of this guest opens it again)"
            )
        case errno.ETIMEDOUT:
            return "the host has put the request off for a minute"
        case _:
            return f"{path} gives an error ({error.strerror})"
