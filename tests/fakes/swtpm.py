"""Real TPMs in software: swtpm with a local CA, one process, own state and own ports for each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conftest import require_part
from sealward_devkit.tpm import machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = "swtpm swtpm-tools tpm2-tools libtss2-tcti-swtpm0"
PROGRAMS = ("swtpm", "swtpm_setup", "swtpm_localca", "tpm2_checkquote", "tpm2_pcrextend")
_ATTEMPTS = 5


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
    machine.create(folder, folder / "ca")


@contextmanager
def fresh(folder: Path) -> Iterator[Swtpm]:
    """A new TPM, made and started in `folder`; without swtpm the test is skipped."""
    if reason := missing():
        require_part(reason)
    manufacture(folder)
    with running(folder) as started:
        yield started


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
        port = machine.free_port()
        process = _start(folder, port)
        if machine.answers(process, port):
            return process, port
        _stop(process)
    raise AssertionError(f"swtpm did not start: {(folder / 'swtpm.log').read_text()}")


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder / "swtpm.log").open("ab") as log:
        return subprocess.Popen(machine.command(folder, port), stdout=log, stderr=log)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
