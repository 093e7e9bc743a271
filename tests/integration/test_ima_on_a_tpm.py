"""A kernel's list beside a quote of a real TPM in software: extended and quoted by tpm2-tools."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from conftest import require_part
from fakes import ima_kernel, swtpm
from fakes.ima_kernel import ImaKernel

from sealward.verifier.composite import ima_log, tpm_files
from sealward.verifier.composite.ima_log import ListPart
from sealward.verifier.composite.tpm_files import Part
from sealward.verifier.formats.tpm import public, quote
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.runtime_log import BootAggregate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.swtpm import Swtpm

    from sealward.verifier.formats.tpm.quote import VerifiedQuote

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NONCE = bytes(range(32))
SELECTION = "sha256:0,1,2,3,4,5,6,7,8,9,10+sha384:10"
ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := swtpm.missing():
        require_part(reason)
    made = tmp_path_factory.mktemp("swtpm-ima")
    swtpm.manufacture(made)
    return made


@pytest.fixture
def machine(folder: Path) -> Iterator[Swtpm]:
    with swtpm.running(folder) as running:
        yield running


def attestation_key(machine: Swtpm) -> None:
    machine.tool("tpm2_createprimary", "-Q", "-C", "e", "-G", "ecc", "-c", "primary.ctx")
    command = ["tpm2_create", "-Q", "-C", "primary.ctx", "-G", "ecc:ecdsa-sha256:null"]
    command += ["-a", ATTRIBUTES, "-u", "ak.pub", "-r", "ak.priv", "-c", "ak.ctx"]
    machine.tool(*command)
    machine.tool("tpm2_flushcontext", "-t")


def quoted(machine: Swtpm) -> VerifiedQuote:
    command = ["tpm2_quote", "-Q", "-c", "ak.ctx", "-l", SELECTION, "-q", NONCE.hex()]
    machine.tool(*command, "-m", "quote.msg", "-s", "quote.sig", "-o", "pcrs", "-g", "sha256")
    machine.tool("tpm2_flushcontext", "-t")
    files = [(machine.folder / name).read_bytes() for name in ("quote.msg", "quote.sig", "pcrs")]
    key = tpm_files.read(Part.AK_PUBLIC, (machine.folder / "ak.pub").read_bytes())
    parts = zip((Part.QUOTE, Part.SIGNATURE, Part.PCR_FILE), files, strict=True)
    evidence, _ = tpm_files.assemble([*parts, (Part.AK_PUBLIC, key)])
    return quote.authenticate(
        evidence.message, evidence.signature, public.parse(evidence.ak_public), evidence.pcrs
    )


def booted(machine: Swtpm) -> ImaKernel:
    """A firmware that measures one thing, and a kernel that starts to measure."""
    machine.extend(4, hashlib.sha256(b"boot loader").digest())
    value = hashlib.sha256(bytes(32) + hashlib.sha256(b"boot loader").digest()).digest()
    kernel = ImaKernel(banks=("sha256", "sha384"), extend=ima_kernel.on_swtpm(machine))
    kernel.boot(dict.fromkeys(range(10), bytes(32)) | {4: value})
    return kernel


def test_a_tpm_proves_what_its_kernel_measured_in_increments_until_it_boots_again(
    folder: Path,
) -> None:
    with swtpm.running(folder) as machine:
        attestation_key(machine)
        kernel = booted(machine)
        kernel.measure("/usr/bin/agent", b"agent")
        first = quoted(machine)
        kernel.violate("/var/log/wtmp")
        part = ListPart(first=0, data=kernel.runtime_measurements())
        found = ima_log.confirm(part, first, before=None, now=NOW)
        assert (found.log.entries, found.log.violations, found.log.not_proven) == (2, 0, 1)
        assert found.log.banks == ("sha256", "sha384")
        assert found.log.boot_aggregate is BootAggregate.CONFIRMED
        kernel.measure("/usr/bin/late", b"late")
        part = ListPart(first=2, data=kernel.runtime_measurements(first=2))
        again = ima_log.confirm(part, quoted(machine), before=found.state, now=NOW)
        assert (again.log.entries, again.log.violations, again.log.not_proven) == (4, 1, 0)
        assert [item.path for item in again.log.measured] == ["/usr/bin/agent", "/usr/bin/late"]
    with swtpm.running(folder) as machine:
        attestation_key(machine)
        rebooted = booted(machine)
        verified = quoted(machine)
        assert verified.attest.reset_count != first.attest.reset_count
        part = ListPart(first=4, data=b"")
        with pytest.raises(RefusedEvidence) as caught:
            ima_log.confirm(part, verified, before=again.state, now=NOW)
        assert (caught.value.code, caught.value.expected) == (Code.EVENT_LOG_MISMATCH, "entry 0")
        part = ListPart(first=0, data=rebooted.runtime_measurements())
        fresh = ima_log.confirm(part, verified, before=again.state, now=NOW)
        assert (fresh.log.entries, fresh.log.measured) == (1, ())


def test_a_tpm_of_a_kernel_that_pads_is_told_from_one_that_was_tampered_with(
    machine: Swtpm,
) -> None:
    attestation_key(machine)
    old = ImaKernel(banks=("sha256", "sha384"), padded=True, extend=ima_kernel.on_swtpm(machine))
    old.measure("/usr/bin/agent", b"agent")
    part = ListPart(first=0, data=old.runtime_measurements())
    with pytest.raises(RefusedEvidence, match="no part") as caught:
        ima_log.confirm(part, quoted(machine), before=None, now=NOW)
    assert caught.value.actual == "SHA-1 digests padded with zeros"
    machine.extend(10, hashlib.sha256(b"hidden").digest())
    with pytest.raises(RefusedEvidence, match="no part") as caught:
        ima_log.confirm(part, quoted(machine), before=None, now=NOW)
    # The other bank still says so; what hides itself in one bank is refused all the same.
    assert caught.value.code is Code.EVENT_LOG_MISMATCH
