"""Real TPMs in software: swtpm with a local CA, one process, own state and own ports for each."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = "swtpm swtpm-tools tpm2-tools libtss2-tcti-swtpm0"
PROGRAMS = ("swtpm", "swtpm_setup", "swtpm_localca", "tpm2_checkquote", "tpm2_pcrextend")
_ATTEMPTS = 5
_START_S = 20.0


@dataclass(frozen=True)
class Swtpm:
    """A running TPM; one client at a time may speak to its data port."""

    port: int
    folder: Path

    def tool(self, *command: str) -> str:
        """Run one of the tpm2-tools against it and return what it prints."""
        tcti = f"swtpm:host=127.0.0.1,port={self.port}"
        done = subprocess.run(
            command,
            env={**os.environ, "TPM2TOOLS_TCTI": tcti},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{command[0]} ({done.returncode}): {done.stderr}")
        return done.stdout

    def extend(self, pcr: int, digest: bytes) -> None:
        """Extend a PCR of the SHA-256 bank through tpm2-tools."""
        self.tool("tpm2_pcrextend", f"{pcr}:sha256={digest.hex()}")


def missing() -> str | None:
    """Return why no TPM can be started here, or None."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(absent)} not found; Debian: apt install {PACKAGES}" if absent else None


def manufacture(folder: Path) -> None:
    """Make a TPM's state below `folder`: RSA-2048 and P-384 endorsement keys with certificates."""
    ca, state = folder / "ca", folder / "state"
    ca.mkdir(parents=True)
    state.mkdir()
    (ca / "localca.conf").write_text(
        f"statedir = {ca}\nsigningkey = {ca}/signkey.pem\n"
        f"issuercert = {ca}/issuercert.pem\ncertserial = {ca}/certserial\n"
    )
    (ca / "localca.options").write_text(
        "--platform-manufacturer x\n--platform-version 1.0\n--platform-model test\n"
    )
    (ca / "setup.conf").write_text(
        f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
        f"create_certs_tool_config = {ca}/localca.conf\n"
        f"create_certs_tool_options = {ca}/localca.options\n"
    )
    command = ["swtpm_setup", "--tpm2", "--tpm-state", str(state), "--createek"]
    command += ["--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--overwrite"]
    command += ["--config", f"{ca}/setup.conf", "--pcr-banks", "sha256,sha384"]
    command += ["--vmid", "node-1", "--logfile", f"{folder}/setup.log"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        log = (folder / "setup.log").read_text() if (folder / "setup.log").exists() else ""
        raise AssertionError(f"swtpm_setup failed: {done.stdout}{done.stderr}{log}")


@contextmanager
def running(folder: Path) -> Iterator[Swtpm]:
    """Start the TPM of `folder`, and stop it by its pid."""
    process, port = _begin(folder)
    try:
        yield Swtpm(port, folder)
    finally:
        _stop(process)


def _begin(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start it; another process may take the ports in between, so more than once."""
    for _ in range(_ATTEMPTS):
        port = _free_pair()
        process = _start(folder, port)
        if _answers(process, port):
            return process, port
        _stop(process)
    raise AssertionError(f"swtpm did not start: {(folder / 'swtpm.log').read_text()}")


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}/state"]
    command += ["--server", f"type=tcp,bindaddr=127.0.0.1,port={port}"]
    command += ["--ctrl", f"type=tcp,bindaddr=127.0.0.1,port={port + 1}"]
    command += ["--flags", "not-need-init,startup-clear"]
    with (folder / "swtpm.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until it listens; tpm2-tools want the control port to be the next one."""
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port + 1), timeout=1):
            return True
        time.sleep(0.02)
    return False


def _free_pair() -> int:
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
    raise AssertionError("no pair of free ports")
