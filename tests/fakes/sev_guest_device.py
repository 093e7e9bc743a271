"""/dev/sev-guest as the kernel and the firmware behind it answer SNP_GET_EXT_REPORT.

Written from include/uapi/linux/sev-guest.h and drivers/virt/coco/sev-guest/sev-guest.c: it reads
the very bytes at the very addresses that an ioctl carries, so a wrong layout fails here too.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from dataclasses import dataclass

SNP_GET_EXT_REPORT = 0xC0205302
MAX_CERTS = 0x4000
PAGE = 0x1000
INVALID_PARAM = 0x16
VMM_INVALID_LENGTH = 1 << 32
VMM_BUSY = 2 << 32
NOT_REACHED = 0xFF


class GuestRequest(ctypes.Structure):
    """struct snp_guest_request_ioctl."""

    _fields_ = (
        ("msg_version", ctypes.c_uint8),
        ("req_data", ctypes.c_uint64),
        ("resp_data", ctypes.c_uint64),
        ("exitinfo2", ctypes.c_uint64),
    )


class ExtendedRequest(ctypes.Structure):
    """struct snp_ext_report_req."""

    _fields_ = (
        ("user_data", ctypes.c_uint8 * 64),
        ("vmpl", ctypes.c_uint32),
        ("rsvd", ctypes.c_uint8 * 28),
        ("certs_address", ctypes.c_uint64),
        ("certs_len", ctypes.c_uint32),
    )


class Response(ctypes.Structure):
    """struct snp_report_resp, with MSG_REPORT_RSP inside."""

    _fields_ = (
        ("status", ctypes.c_uint32),
        ("report_size", ctypes.c_uint32),
        ("rsvd", ctypes.c_uint8 * 24),
        ("report", ctypes.c_uint8 * 3968),
    )


@dataclass
class FakeSevGuest:
    """One device; `report` plays the firmware, `table` is what the host has put beside it.

    Attributes:
        level: the privilege level of this guest; asking for a lower one is refused.
        throttled: how many requests are put off first.
        firmware_error: what every request fails with, closing the channel; 0 for none.
        hypervisor_error: the same, from the host.
        open_fails: errno that opening ends with, 0 for none.
        asked: requests that came in.
    """

    report: Callable[[bytes], bytes]
    table: bytes = b""
    path: str = "/dev/sev-guest"
    level: int = 0
    throttled: int = 0
    firmware_error: int = 0
    hypervisor_error: int = 0
    open_fails: int = 0
    closed: bool = False
    asked: int = 0

    def check(self) -> None:
        if self.open_fails:
            raise OSError(self.open_fails, self.path)

    def ioctl(self, number: int, argument: bytearray) -> None:
        self.check()
        self.asked += 1
        if number != SNP_GET_EXT_REPORT:
            raise OSError(errno.ENOTTY, "ioctl")
        assert len(argument) == ctypes.sizeof(GuestRequest) == 32
        request = GuestRequest.from_buffer(argument)
        try:
            self._answer(request)
        except OSError:
            if not request.exitinfo2:
                request.exitinfo2 = NOT_REACHED
            raise

    def _answer(self, request: GuestRequest) -> None:
        if not request.msg_version or not request.req_data or not request.resp_data:
            raise OSError(errno.EINVAL, "request")
        assert ctypes.sizeof(ExtendedRequest) == 112
        wanted = ExtendedRequest.from_address(request.req_data)
        if wanted.certs_len > MAX_CERTS or wanted.certs_len % PAGE:
            raise OSError(errno.EINVAL, "certs_len")
        if self.closed:
            raise OSError(errno.ENOTTY, "VMPCK is disabled")
        self._fail(request)
        if len(self.table) > wanted.certs_len:
            request.exitinfo2 = VMM_INVALID_LENGTH
            wanted.certs_len = -(-len(self.table) // PAGE) * PAGE
            raise OSError(errno.EIO, "certificates")
        answer = Response.from_address(request.resp_data)
        ctypes.memset(request.resp_data, 0, 4000)
        if any(wanted.rsvd) or wanted.vmpl < self.level or wanted.vmpl > 3:
            answer.status = INVALID_PARAM
            return
        report = self.report(bytes(wanted.user_data))
        answer.report_size = len(report)
        ctypes.memmove(request.resp_data + 32, report, len(report))
        ctypes.memmove(
            wanted.certs_address, self.table.ljust(wanted.certs_len, b"\0"), wanted.certs_len
        )

    def _fail(self, request: GuestRequest) -> None:
        if self.throttled:
            self.throttled -= 1
            request.exitinfo2 = VMM_BUSY
            raise OSError(errno.EAGAIN, "throttled")
        if self.firmware_error or self.hypervisor_error:
            self.closed = True
            request.exitinfo2 = self.hypervisor_error << 32 | self.firmware_error
            raise OSError(errno.EIO, "request")
