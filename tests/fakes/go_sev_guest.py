"""The tools of google/go-sev-guest: another reader's opinion on SEV-SNP evidence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

VERSION: Final = "0.15.0"
_BUILT_FROM: Final = f"mod\tgithub.com/google/go-sev-guest\tv{VERSION}".encode()
# Names of the tool's own messages, by field number (proto/sevsnp.proto of its module).
_REPORT: Final = (
    *("version", "guest_svn", "policy", "family_id", "image_id", "vmpl", "signature_algo"),
    *("current_tcb", "platform_info", "signer_info", "report_data", "measurement", "host_data"),
    *("id_key_digest", "author_key_digest", "report_id", "report_id_ma", "reported_tcb"),
    *("chip_id", "committed_tcb", "current_build", "current_minor", "current_major"),
    *("committed_build", "committed_minor", "committed_major", "launch_tcb", "signature"),
    *("cpuid1eax_fms", "launch_mit_vector", "current_mit_vector"),
)
_CHAIN: Final = ("vcek_cert", "ask_cert", "ark_cert", "firmware_cert", "-", "vlek_cert")
_VARINT: Final = 0
_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Tools:
    """`check` and `show` in one folder."""

    folder: Path

    def show(self, evidence: bytes) -> dict[str, int | bytes]:
        """Return what the tool reads in a report and its certificate table, by its own names.

        Fields that are zero are left out, as the encoding does.
        """
        done = self._run("show", evidence, "-outform", "proto")
        assert done.returncode == 0, done.stderr
        report, chain = (value for _, value in _fields(done.stdout))
        assert isinstance(report, bytes)
        assert isinstance(chain, bytes)
        shown = {_REPORT[number - 1]: value for number, value in _fields(report)}
        return shown | {_CHAIN[number - 1]: value for number, value in _fields(chain)}

    def again(self, evidence: bytes) -> bytes:
        """Return the evidence as the tool encodes what it has read."""
        return self._run("show", evidence, "-outform", "bin").stdout

    def check(self, evidence: bytes, *options: str) -> tuple[int, str]:
        """Return the tool's exit status and what it says, without any network."""
        done = self._run("check", evidence, "-network=false", *options)
        return done.returncode, done.stderr.decode()

    def _run(self, tool: str, evidence: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.folder / tool, *options],
            input=evidence,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )


def find() -> Tools | None:
    """Return the tools of the version that tests compare with, or None."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    candidates = (
        os.environ.get("SEALWARD_GO_SEV_GUEST"),
        str(cache / "sealward" / f"go-sev-guest-{VERSION}"),
    )
    folders = (Path(found) for found in candidates if found)
    return next((Tools(folder) for folder in folders if _is_right(folder)), None)


def missing() -> str:
    """Return what to do when there are none."""
    return f"no tools of go-sev-guest {VERSION}; build them: sh tools/provide_go_sev_guest.sh"


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of the fields of a protobuf message without fixed-width ones."""
    stream = BytesIO(message)
    while stream.tell() < len(message):
        tag = _varint(stream)
        value = _varint(stream)
        yield tag >> 3, value if tag & 7 == _VARINT else stream.read(value)


def _varint(stream: BytesIO) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value


def _is_right(folder: Path) -> bool:
    with suppress(OSError):
        return all(_BUILT_FROM in (folder / tool).read_bytes() for tool in ("check", "show"))
    return False
