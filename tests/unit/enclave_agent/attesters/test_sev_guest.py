"""Reports through /dev/sev-guest, against a device that reads the very bytes of the ioctl."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest
from fakes.sev_guest_device import SNP_GET_EXT_REPORT, FakeSevGuest

from sealward.enclave_agent.attesters import devices, sev_guest
from sealward.enclave_agent.attesters.devices import CharacterDevice
from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.enclave_agent.attesters.sev_guest import ATTEMPTS, PAUSE_S, SevGuest

ASKED = bytes(range(64))


def plain_report(user_data: bytes) -> bytes:
    return (bytes(0x50) + user_data).ljust(sev_guest.REPORT_SIZE, b"\x5a")


def guest(device: FakeSevGuest, slept: list[float] | None = None) -> SevGuest:
    pauses: list[float] = [] if slept is None else slept
    return SevGuest(device, sleep=pauses.append)


def refusal(device: FakeSevGuest) -> str:
    with pytest.raises(AttesterUnavailable) as caught:
        guest(device).report(ASKED)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_the_number_of_the_ioctl_is_that_of_the_kernel_header() -> None:
    assert sev_guest.SNP_GET_EXT_REPORT == SNP_GET_EXT_REPORT
    assert devices.iowr(0x0A, 0, 32) == 0xC0200A00


def test_a_report_and_the_table_of_the_host_come_back() -> None:
    device = FakeSevGuest(plain_report, table=b"a table")
    made = guest(device).report(ASKED)
    assert made.report == plain_report(ASKED)
    assert made.table == b"a table".ljust(0x4000, b"\0")
    assert not any(guest(FakeSevGuest(plain_report)).report(ASKED).table)


def test_a_host_that_throttles_is_asked_again_and_then_given_up() -> None:
    slept: list[float] = []
    device = FakeSevGuest(plain_report, throttled=3)
    assert guest(device, slept).report(ASKED).report == plain_report(ASKED)
    assert slept == [PAUSE_S] * 3
    assert "throttles" in refusal(FakeSevGuest(plain_report, throttled=ATTEMPTS))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0x16, "0x16: a parameter is not allowed"),
        (0x1D, "message counter has run out"),
        (0x77, "0x77: see AMD 56860"),
    ],
)
def test_an_error_of_the_firmware_is_a_sentence_and_is_not_tried_again(
    code: int, told: str
) -> None:
    device = FakeSevGuest(plain_report, firmware_error=code)
    assert told in refusal(device)
    assert device.asked == 1
    assert "new start of this guest" in refusal(device)  # the kernel has closed its channel


def test_a_level_that_is_refused_is_told_by_the_status_of_the_answer() -> None:
    assert "level 0" in refusal(FakeSevGuest(plain_report, level=1))


def test_an_error_of_the_host_is_named() -> None:
    assert "host refused the request (error 0x9)" in refusal(
        FakeSevGuest(plain_report, hypervisor_error=9)
    )


def test_a_table_too_large_for_the_kernel_is_told_with_its_size() -> None:
    message = refusal(FakeSevGuest(plain_report, table=bytes([1]) * 0x4001))
    assert "takes 20480 bytes" in message
    assert "configfs-tsm" in message


def test_a_report_of_another_size_or_over_something_else_is_refused() -> None:
    assert "has 1185 bytes" in refusal(FakeSevGuest(lambda data: plain_report(data) + b"\0"))
    other = plain_report(hashlib.sha512(b"another").digest())
    assert "another request" in refusal(FakeSevGuest(lambda _: other))


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOENT, "CONFIG_SEV_GUEST"),
        (errno.EACCES, "60-sealward-tee.rules"),
        (errno.EPERM, "60-sealward-tee.rules"),
        (errno.EMFILE, "gives an error"),
    ],
)
def test_every_obstacle_is_named_with_its_remedy(number: int, told: str) -> None:
    device = FakeSevGuest(plain_report, open_fails=number)
    assert told in str(guest(device).obstacle())
    assert told in refusal(device)
    assert guest(FakeSevGuest(plain_report)).obstacle() is None


def test_the_port_of_this_machine_opens_devices_and_makes_ioctls(tmp_path: Path) -> None:
    """What any Linux has: /dev/null opens and knows no ioctl of ours."""
    null = CharacterDevice("/dev/null")
    null.check()
    argument = bytearray(32)
    with pytest.raises(OSError, match="Inappropriate ioctl") as caught:
        null.ioctl(sev_guest.SNP_GET_EXT_REPORT, argument)
    assert caught.value.errno == errno.ENOTTY
    missing = SevGuest(CharacterDevice(str(tmp_path / "none")), sleep=lambda _: None)
    assert "there is no" in str(missing.obstacle())


def test_memory_for_a_structure_is_where_it_says() -> None:
    buffer = devices.Buffer(b"\x01\x00\x02")
    assert (buffer.size, buffer.content()) == (3, b"\x01\x00\x02")
    assert buffer.address != devices.Buffer(b"\x01").address
