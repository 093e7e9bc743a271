"""One swtpm: made with a local CA, run as a process, extended over its data port.

A directory holds one machine: `state` (what swtpm keeps), `ek` (its endorsement certificates as
files) and, after a boot, `event.log`. The CA is a directory of its own that several machines share.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import struct
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.tpm.boot import BANKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealward_devkit.tpm.boot import Measured

PROGRAMS: Final = ("swtpm", "swtpm_setup", "swtpm_localca")
PACKAGES: Final = "swtpm swtpm-tools"
EVENT_LOG: Final = "event.log"
ROOT: Final = "swtpm-localca-rootca-cert.pem"
ISSUER: Final = "issuercert.pem"
CERTIFICATE: Final = "ek-secp384r1.crt"  # of the key that the agent prefers: ECC is faster

_HOST: Final = "127.0.0.1"
_SETUP_SECONDS: Final = 120
_WAIT_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.02
_PORTS: Final = 50  # tries to find two free ones side by side
_ALGORITHM: Final = {"sha256": 0x000B, "sha384": 0x000C}
_SESSIONS: Final = 0x8002
_PCR_EXTEND: Final = 0x00000182
_EMPTY_PASSWORD: Final = struct.pack(">IHBH", 0x40000009, 0, 0, 0)
_HEADER: Final = 10


def require_programs() -> None:
    """Refuse a machine without swtpm.

    Raises:
        DevelopmentFilesError: one sentence that names the packages.
    """
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        raise DevelopmentFilesError(
            f"{', '.join(absent)} is not installed; on Debian: apt-get install {PACKAGES}"
        )


def create(folder: Path, ca: Path) -> str:
    """Make a machine in a new folder, endorsed by the CA in `ca` (made at its first use).

    Returns:
        The platform id that an administrator puts on the allow-list.

    Raises:
        DevelopmentFilesError: swtpm is missing or fails, or the folder cannot be written.
    """
    require_programs()
    try:
        ca.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in ("state", "ek"):
            (folder / part).mkdir(parents=True, mode=0o700)
        _configure(folder, ca)
    except OSError as error:
        raise DevelopmentFilesError(f"cannot write {folder}: {error.strerror}") from error
    arguments = ["swtpm_setup", "--tpm2", "--tpm-state", str(folder / "state"), "--createek"]
    arguments += ["--create-ek-cert", "--lock-nvram", "--overwrite", "--vmid", folder.name]
    arguments += ["--config", str(folder / "setup.conf"), "--pcr-banks", ",".join(BANKS)]
    arguments += [
        "--write-ek-cert-files",
        str(folder / "ek"),
        "--logfile",
        str(folder / "setup.log"),
    ]
    done = subprocess.run(  # noqa: S603 - the programs above, with paths of ours
        arguments, capture_output=True, text=True, timeout=_SETUP_SECONDS, check=False
    )
    if done.returncode:
        raise DevelopmentFilesError(f"swtpm_setup failed; see {folder / 'setup.log'}")
    return platform_id(folder)


def platform_id(folder: Path, certificate: str = CERTIFICATE) -> str:
    """Return what the control plane calls the machine's TPM: the key of `certificate`.

    Raises:
        DevelopmentFilesError: the folder holds no machine.
    """
    path = folder / "ek" / certificate
    try:
        key = x509.load_der_x509_certificate(path.read_bytes()).public_key()
    except (OSError, ValueError) as error:
        raise DevelopmentFilesError(f"{path} is not the certificate of a machine") from error
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"tpm:ek:{hashlib.sha256(spki).hexdigest()}"


def become(folder: Path, port: int) -> NoReturn:
    """Become the TPM of this machine: replaces the process, so whoever started it can end it.

    Raises:
        DevelopmentFilesError: swtpm is missing.
    """
    require_programs()
    arguments = command(folder, port)
    os.execvp(arguments[0], arguments)  # noqa: S606 - no shell: a program of the list above


def command(folder: Path, port: int) -> list[str]:
    """Return what runs the TPM of this machine at `port`, with its control port at the next one."""
    return [
        *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder / 'state'}"),
        *("--server", f"type=tcp,bindaddr={_HOST},port={port}"),
        *("--ctrl", f"type=tcp,bindaddr={_HOST},port={port + 1}"),
        *("--flags", "not-need-init,startup-clear"),
    ]


def free_port() -> int:
    """Return a port that is free, as the next one is; another process may take them meanwhile.

    Raises:
        DevelopmentFilesError: there is no such pair.
    """
    for _ in range(_PORTS):
        with socket.socket() as first, socket.socket() as second:
            first.bind((_HOST, 0))
            port: int = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind((_HOST, port + 1))
                return port
    raise DevelopmentFilesError("there are no two free ports side by side")


def answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the TPM that was started at `port` listens; False when it ended or never does.

    Asked is its control port: the data port takes one client at a time.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((_HOST, port + 1), timeout=1):
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def measure(port: int, events: Sequence[Measured]) -> None:
    """Extend every bank of the TPM at this port with these events.

    Raises:
        DevelopmentFilesError: nobody answers, or the TPM refuses.
    """
    try:
        with closing(_connect(port)) as connection:
            for event in events:
                _extend(connection, event)
    except OSError as error:
        raise DevelopmentFilesError(f"no TPM answers at {_HOST}:{port}: {error}") from error


def _connect(port: int) -> socket.socket:
    """Connect, waiting for a TPM that has just been started."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            return socket.create_connection((_HOST, port), timeout=_WAIT_SECONDS)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def _extend(connection: socket.socket, event: Measured) -> None:
    digests = b"".join(struct.pack(">H", _ALGORITHM[bank]) + event.digest(bank) for bank in BANKS)
    body = struct.pack(">II", event.register, len(_EMPTY_PASSWORD)) + _EMPTY_PASSWORD
    body += struct.pack(">I", len(BANKS)) + digests
    connection.sendall(struct.pack(">HII", _SESSIONS, _HEADER + len(body), _PCR_EXTEND) + body)
    _, size, code = struct.unpack(">HII", _exactly(connection, _HEADER))  # noqa: TID251 - the other side
    _exactly(connection, size - _HEADER)
    if code:
        raise DevelopmentFilesError(f"the TPM refuses to extend PCR {event.register}: {code:#x}")


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise ConnectionResetError("the connection ended")
        found += part
    return found


def _configure(folder: Path, ca: Path) -> None:
    """Write what swtpm_setup reads, so that it keeps to our folders."""
    (ca / "localca.conf").write_text(
        f"statedir = {ca}\nsigningkey = {ca}/signkey.pem\n"
        f"issuercert = {ca}/{ISSUER}\ncertserial = {ca}/certserial\n"
    )
    (ca / "localca.options").write_text(
        "--platform-manufacturer Sealward\n--platform-version 1\n--platform-model development\n"
    )
    (folder / "setup.conf").write_text(
        f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
        f"create_certs_tool_config = {ca}/localca.conf\n"
        f"create_certs_tool_options = {ca}/localca.options\n"
    )
