"""The credentials file of an administrator: where, whom to trust there, and the token; 0600.

Strict JSON: {"v": 1, "server": URL, "ca": PEM, "token": TEXT}. It carries the CA, so that one file
is all that later commands need.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sealward.controlplane.cli.terminal import Failure
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json as wire_json

MAX_BYTES: Final = 65_536  # a CA chain and a token


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a remote command needs."""

    server: str
    ca: str  # PEM
    token: str = field(repr=False)


def default_path() -> Path:
    """Return ~/.config/sealward/credentials.json, below XDG_CONFIG_HOME where that is set."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "sealward" / "credentials.json"


def read_private(path: Path, what: str) -> str:
    """Return the text of a file that nobody but its owner may read.

    Raises:
        Failure: it is missing, larger than MAX_BYTES, not text, or open to others.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise Failure(
                    f"{what} {path} can be read by others", f"run `chmod 600 {path}` if it is yours"
                )
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Failure(
            f"cannot read {what} {path}: {error.strerror}",
            "name another with --credentials, or create one with `sealward admin bootstrap`",
        ) from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > MAX_BYTES:
        raise Failure(f"{what} {path} is not what it should be", "give the file as it was written")
    return text


def load(path: Path) -> Credentials:
    """Read a credentials file.

    Raises:
        Failure: see `read_private`; or it is not a credentials file.
    """
    text = read_private(path, "credentials file")
    try:
        value = wire_json.decode(text, what="credentials file", max_bytes=MAX_BYTES)
    except MalformedEvidence as error:
        raise Failure(
            f"{path}: {error.detail}", "write it again with `sealward admin bootstrap`"
        ) from None
    match value:
        case {"v": 1, "server": str(server), "ca": str(ca), "token": str(token), **rest} if (
            not rest
        ):
            return Credentials(server=server, ca=ca, token=token)
        case _:
            raise Failure(
                f"{path} is not a credentials file of version 1",
                "write it again with `sealward admin bootstrap`",
            )


def create(path: Path, obtain: Callable[[], Credentials]) -> Credentials:
    """Write the credentials that `obtain` returns into a new 0600 file.

    The file is made first: `obtain` spends a credential that works once, and its answer must have
    a place to go. When `obtain` raises, the file is removed again.

    Raises:
        Failure: there is a file already, or it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise Failure(
            f"{path} exists already", "name another file with --credentials, or move it away"
        ) from None
    except OSError as error:
        raise Failure(f"cannot create {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        try:
            made = obtain()
        except BaseException:
            path.unlink()
            raise
        document = {"v": 1, "server": made.server, "ca": made.ca, "token": made.token}
        file.write(json.dumps(document, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return made
