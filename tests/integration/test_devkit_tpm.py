"""The development kit's machines on a real swtpm: made, booted, and read by tpm2-tools."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from conftest import require_part
from fakes import swtpm
from fakes.swtpm import Swtpm
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.tpm import boot, machine

from sealward.verifier.formats.tpm import endorsement
from sealward.verifier.formats.tpm.endorsement import EndorsementRoot
from sealward.verifier.pki import certificate
from sealward.verifier.wire import pem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

TRUST = b"trust"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    if reason := swtpm.missing():
        require_part(reason)
    folder = tmp_path_factory.mktemp("devkit")
    return folder, machine.create(folder / "one", folder / "ca")


@contextmanager
def turned_on(folder: Path) -> Iterator[Swtpm]:
    port = machine.free_port()
    arguments = ["tpm", "run", str(folder), "--port", str(port)]
    code = "from sealward_devkit.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    try:
        yield Swtpm(port, folder)
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(timeout=10)


def test_a_boot_leaves_the_registers_that_the_reference_values_name(
    made: tuple[Path, str],
) -> None:
    folder, _ = made
    events = boot.boot("agent-1.0", TRUST)
    with turned_on(folder / "one") as tpm:
        machine.measure(tpm.port, events)
        for bank in boot.BANKS:
            wanted = boot.registers(events, bank)
            tpm.tool("tpm2_pcrread", f"{bank}:{','.join(map(str, wanted))}", "-o", "raw")
            assert (folder / "one" / "raw").read_bytes() == b"".join(wanted.values())
        machine.measure(tpm.port, (boot.Measured(12, 0, b"x", b"x"),))
        tpm.tool("tpm2_pcrread", "sha256:12", "-o", "raw")
        extended = boot.registers(events)[12] + hashlib.sha256(b"x").digest()
        assert (folder / "one" / "raw").read_bytes() == hashlib.sha256(extended).digest()


def test_tpm2_tools_read_the_event_log(made: tuple[Path, str]) -> None:
    folder, _ = made
    (folder / "log").write_bytes(boot.event_log(boot.boot("agent-1.0", TRUST)))
    printed = subprocess.run(
        ["tpm2_eventlog", str(folder / "log")], capture_output=True, text=True, check=True
    ).stdout
    for register, value in boot.registers(boot.boot("agent-1.0", TRUST)).items():
        if any(value):
            assert f"{register:<2} : 0x{value.hex()}" in printed, register


def test_the_platform_is_what_the_verifier_calls_the_tpm(made: tuple[Path, str]) -> None:
    folder, platform_id = made
    ca = folder / "ca"
    root, issuer = (
        pem.decode((ca / name).read_bytes(), what="CA", max_bytes=1 << 16)[0]
        for name in (machine.ROOT, machine.ISSUER)
    )
    leaf = (folder / "one" / "ek" / "ek-secp384r1.crt").read_bytes()
    now = certificate.parse(leaf).not_before
    endorsed = endorsement.endorse(
        leaf, (issuer,), roots=(EndorsementRoot(root, development=True),), now=now
    )
    assert platform_id == f"tpm:ek:{endorsed.sha256}"
    assert endorsed.development


def test_two_machines_of_one_ca_are_two_platforms(made: tuple[Path, str]) -> None:
    folder, first = made
    assert machine.create(folder / "two", folder / "ca") != first


def test_what_is_no_machine_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DevelopmentFilesError, match="not the certificate of a machine"):
        machine.platform_id(tmp_path)
