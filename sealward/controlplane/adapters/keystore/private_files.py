"""Files that only their owner can read, from the first instant on; refused once others can."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from sealward.controlplane.domain.errors import Code, Refused

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600

_OTHERS: Final = 0o077  # any right of group or world
_MAX_BYTES: Final = 4096  # the longest of our files, a PEM key, has about 250


def write_private(path: Path, content: bytes) -> None:
    """Create `path` with mode 0600 and make it durable; FileExistsError when it is there.

    O_EXCL refuses a planted file or link, and the mode is given at creation: there is no moment at
    which the umask decides who can read a key.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def sync_directory(directory: Path) -> None:
    """Make creations and renames in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_private_directory(directory: Path) -> None:
    """Return when `directory` is ours alone; Refused(keystore_refused) otherwise."""
    try:
        status = directory.lstat()
    except OSError as error:
        raise _refused(directory, f"cannot be read: {error.strerror}", "create it first") from None
    if not stat.S_ISDIR(status.st_mode):
        raise _refused(directory, "is not a directory", "give a directory of our own")
    _require_ours(directory, status, "700")


def read_private(path: Path) -> bytes:
    """Return the content of a private file; Refused(keystore_refused) when others could read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        hint = "restore the keystore from its backup"
        raise _refused(path, f"cannot be read: {error.strerror}", hint) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)  # of what was opened, not of what the name means by now
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            raise _refused(path, "is not a key file", "restore the keystore from its backup")
        _require_ours(path, status, "600")
        return file.read(_MAX_BYTES)


def _require_ours(path: Path, status: os.stat_result, mode: str) -> None:
    if status.st_uid != os.geteuid():
        raise _refused(path, "belongs to another user", f"chown it to uid {os.geteuid()}")
    if status.st_mode & _OTHERS:
        raise _refused(path, "can be used by others", f"chmod {mode} {path}")


def _refused(path: Path, problem: str, hint: str) -> Refused:
    return Refused(Code.keystore_refused, f"{path} {problem}", hint)
