"""The firmware's event log, as the kernel shows it.

The file has no padding to trim: the kernel stops at the first record that is none
(drivers/char/tpm/eventlog). A log is no evidence by itself: it explains PCR values, for which the
quote vouches.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.port import AttesterUnavailable

if TYPE_CHECKING:
    from pathlib import Path

PATH: Final = "/sys/kernel/security/tpm0/binary_bios_measurements"
MAX_BYTES: Final = 192 * 1024  # docs/specs/evidence-envelope.md 7


class NoEventLog(Exception):
    """There is no log to send; the message is a clause that says why and what to switch on."""


def read(path: Path) -> bytes:
    """Return the log.

    Raises:
        NoEventLog: there is none, it is empty, or this user may not read it.
        AttesterUnavailable: it is longer than a verifier takes. Left out it would be missed by
            whoever relies on it, without a word.
    """
    try:
        with path.open("rb") as file:
            log = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NoEventLog(_why(path, error)) from error
    if not log:
        raise NoEventLog(f"{path} is empty (this firmware kept no log)")
    if len(log) > MAX_BYTES:
        raise AttesterUnavailable(f"{path} is longer than the {MAX_BYTES} bytes that are sent.")
    return log


def read_if_any(path: Path) -> bytes | None:
    """Return the log, or None where there is none to send: `told` says why.

    Raises:
        AttesterUnavailable: as `read`.
    """
    try:
        return read(path)
    except NoEventLog:
        return None


def told(path: Path) -> str:
    """Return what a probe says of the log, to stand behind "with".

    Raises:
        AttesterUnavailable: as `read`.
    """
    try:
        read(path)
    except NoEventLog as reason:
        return f"no event log: {reason}"
    return "the firmware's event log"


def _why(path: Path, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return (
                f"there is no {path} (securityfs mounted on /sys/kernel/security, and firmware "
                "that keeps a log)"
            )
        case errno.EACCES | errno.EPERM:
            return (
                f"this user may not read {path}, which is root's (have it copied at boot to a file "
                "of the agent's group, and set event_log to that)"
            )
        case _:
            return f"{path} gives an error ({error.strerror})"
