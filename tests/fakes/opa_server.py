"""Real OPA servers: one process each, over mutual TLS under a private CA or on plain loopback."""

from __future__ import annotations

import os
import resource
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from fakes.fake_authority import Authority

from sealward.controlplane.adapters.policy_engine.opa.client import OpaClient
from sealward.controlplane.adapters.policy_engine.opa.endpoint import Endpoint, TlsFiles
from sealward.controlplane.adapters.policy_engine.opa.engine import OpaEngine, OpaSettings
from sealward.controlplane.adapters.policy_engine.shipped import allowed_builtins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSION = "1.22.2"
_ATTEMPTS = 5
_START_S = 20.0


def find() -> str | None:
    """Return the `opa` of the version that is compared with, or None."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    candidates = (
        os.environ.get("SEALWARD_OPA"),
        shutil.which("opa"),
        str(cache / "sealward" / f"opa-{VERSION}" / "opa"),
    )
    return next((found for found in candidates if found and _is_right(found)), None)


def missing() -> str | None:
    """Return why no OPA can be started here, or None."""
    return None if find() else f"no opa {VERSION}; build it: sh tools/provide_opa.sh"


def _is_right(program: str) -> bool:
    with suppress(OSError):
        shown = subprocess.run([program, "version"], capture_output=True, check=False, timeout=20)
        return f"Version: {VERSION}\n".encode() in shown.stdout
    return False


@dataclass(frozen=True)
class Opa:
    """A running server."""

    endpoint: Endpoint
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return int(self.endpoint.url.rpartition(":")[2])


def tls_files(folder: Path) -> TlsFiles:
    """Write a private CA, the server's identity and ours below `folder`; return ours."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority.make("OPA test CA")
    (folder / "ca.pem").write_bytes(authority.pem)
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = authority.issue(key.public_key(), timedelta(days=1), server=name == "server")
        (folder / f"{name}.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
    return TlsFiles(
        ca=folder / "ca.pem", certificate=folder / "client.pem", key=folder / "client.key"
    )


@contextmanager
def running(
    folder: Path,
    *options: str,
    plain: bool = False,
    lax: bool = False,
    port: int | None = None,
    memory: int | None = None,
) -> Iterator[Opa]:
    """Start an OPA with its files below `folder`, and stop it by its pid.

    `plain` is http on loopback; `lax` is https that does not ask who its clients are; `memory` is
    the most bytes of addresses that the process may have.
    """
    program = find()
    assert program is not None, missing()
    tls = None if plain else tls_files(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(_ATTEMPTS):
        listening = port or _free_port()
        process = _start(program, folder, listening, (*_flags(folder, tls, lax=lax), *options))
        try:
            if memory is not None:
                resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
            if _answers(process, listening):
                url = f"{'https' if tls else 'http'}://127.0.0.1:{listening}"
                yield Opa(Endpoint(url=url, tls=tls), process)
                return
        finally:
            process.kill()
            process.wait()
    raise AssertionError(f"opa did not start: {(folder / 'opa.log').read_text()}")


@contextmanager
def engine(
    endpoint: Endpoint,
    settings: OpaSettings | None = None,
    *,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> Iterator[OpaEngine]:
    """Open an engine on a server."""
    settings = settings or OpaSettings(deadline_seconds=5, load_seconds=20)
    opened = OpaEngine(
        OpaClient(endpoint),
        settings,
        builtins=allowed_builtins(),
        monotonic=time.monotonic,
        random_bytes=random_bytes,
    )
    try:
        yield opened
    finally:
        opened.close()


def _flags(folder: Path, tls: TlsFiles | None, *, lax: bool) -> tuple[str, ...]:
    if tls is None:
        return ()
    identity: tuple[str, ...] = ("--tls-cert-file", f"{folder}/server.pem")
    identity += ("--tls-private-key-file", f"{folder}/server.key")
    if lax:
        return identity
    return (*identity, "--tls-ca-cert-file", str(tls.ca), "--authentication=tls")


def _start(
    program: str, folder: Path, port: int, options: tuple[str, ...]
) -> subprocess.Popen[bytes]:
    command = [program, "run", "--server", "--addr", f"127.0.0.1:{port}", *options]
    command += ["--skip-version-check", "--log-level", "error"]
    with (folder / "opa.log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.02)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
