"""A list counts as far as a quote proves it, once and in increments alike."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from fakes import software_tpm
from fakes.ima_kernel import ImaKernel
from fakes.software_tpm import SoftwareTpm

from sealward.verifier.composite import ima_log
from sealward.verifier.composite.ima_log import ConfirmedList, ListPart
from sealward.verifier.formats.ima import state as states
from sealward.verifier.formats.ima.state import State
from sealward.verifier.formats.tpm import public, quote
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.formats.tpm.quote import VerifiedQuote
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.runtime_log import BootAggregate
from sealward.verifier.wire.tcg_hash import HashAlg

BOOT = {index: hashlib.sha256(bytes((index,))).digest() for index in range(10)}


def booted(**more: object) -> ImaKernel:
    kernel = ImaKernel(**more)
    kernel.boot(BOOT)
    return kernel


def quoted(kernel: ImaKernel, *banks: str, boot: dict[int, bytes] = BOOT) -> VerifiedQuote:
    """A quote of PCR 10 as it stands, and in the SHA-256 bank of the boot's PCRs."""
    values = {bank: {10: kernel.registers[bank]} for bank in banks or ("sha256",)}
    if "sha256" in values:
        values["sha256"] |= boot
    tpm = SoftwareTpm(kind="p256", scheme=("ecdsa", "sha256"), banks=values)
    message = tpm.message(bytes(32))
    pcrs = tuple(
        PcrBank(HashAlg[bank.upper()], tuple(sorted(found.items())))
        for bank, found in values.items()
    )
    return quote.authenticate(message, tpm.sign(message), public.parse(tpm.ak_public), pcrs)


def confirmed(
    kernel: ImaKernel, verified: VerifiedQuote | None = None, before: State | None = None
) -> ConfirmedList:
    """What an honest agent gets for its whole list, or for what follows `before`."""
    first = 0 if before is None else before.entries
    part = ListPart(first=first, data=kernel.runtime_measurements(first=first))
    verified = verified or quoted(kernel)
    return ima_log.confirm(part, verified, before=before, now=software_tpm.NOW)


def refused(
    part: ListPart, verified: VerifiedQuote, before: State | None = None
) -> RefusedEvidence:
    with pytest.raises(RefusedEvidence) as caught:
        ima_log.confirm(part, verified, before=before, now=software_tpm.NOW)
    return caught.value


@pytest.mark.parametrize("banks", [("sha1",), ("sha256",), ("sha384", "sha256", "sha1")])
def test_a_list_that_replays_to_the_quote_is_proven(banks: tuple[str, ...]) -> None:
    kernel = booted()
    digest = kernel.measure("/usr/bin/agent", b"agent")
    kernel.measure_buffer("kexec-cmdline", b"root=/dev/vda")
    found = confirmed(kernel, quoted(kernel, *banks))
    assert (found.log.entries, found.log.violations, found.log.not_proven) == (3, 0, 0)
    assert found.log.banks == tuple(sorted(banks, key=lambda bank: software_tpm.ALG[bank]))
    assert [item.path for item in found.log.measured] == ["/usr/bin/agent", "kexec-cmdline"]
    assert found.log.measured[0].digest == digest.hex()
    assert found.log.as_of == software_tpm.NOW


@pytest.mark.parametrize("template_hash", ["sha1", "sha256", "sha384"])
def test_every_list_of_a_kernel_proves_every_bank(template_hash: str) -> None:
    kernel = booted()
    kernel.measure("/usr/bin/agent", b"agent")
    kernel.append_first("/usr/bin/old", bytes(20))
    part = ListPart(
        first=0,
        data=kernel.runtime_measurements(template_hash),
        template_hash=HashAlg[template_hash.upper()],
    )
    verified = quoted(kernel, "sha256", "sha384")
    found = ima_log.confirm(part, verified, before=None, now=software_tpm.NOW)
    assert found.log.entries == 3
    assert found == confirmed(kernel, verified)


def test_entries_after_the_quote_are_dropped_and_counted() -> None:
    kernel = booted()
    kernel.measure("/usr/bin/agent", b"agent")
    verified = quoted(kernel)
    kernel.measure("/usr/bin/late", b"late")
    kernel.violate("/usr/bin/later")
    found = confirmed(kernel, verified)
    assert (found.log.entries, found.log.violations, found.log.not_proven) == (2, 0, 2)
    assert [item.path for item in found.log.measured] == ["/usr/bin/agent"]


def test_a_changed_left_out_or_moved_entry_proves_nothing() -> None:
    kernel = booted()
    for number in range(4):
        kernel.measure(f"/usr/bin/{number}", bytes((number,)))
    verified = quoted(kernel)
    honest = kernel.appended
    forged = ImaKernel()
    forged.measure("/usr/bin/2", b"allowed")
    for entries in (
        honest[:-1],
        [*honest[:2], *honest[3:]],
        [honest[0], honest[2], honest[1], *honest[3:]],
        [*honest[:3], *forged.appended, *honest[4:]],
        [*honest[:3], replace(honest[3], violation=True), *honest[4:]],
        [],
    ):
        data = b"".join(entry.line("sha1") for entry in entries)
        error = refused(ListPart(first=0, data=data), verified)
        assert error.code is Code.EVENT_LOG_MISMATCH
        assert error.actual is None


def test_a_violation_counts_and_its_text_is_not_a_claim() -> None:
    kernel = booted()
    kernel.violate("/etc/shadow")
    verified = quoted(kernel)
    found = confirmed(kernel, verified)
    assert (found.log.entries, found.log.violations, found.log.measured) == (2, 1, ())
    # Nothing authenticates it: another text in its place is proven just as well.
    another = ImaKernel()
    another.violate("/usr/bin/agent")
    data = b"".join(entry.line("sha1") for entry in (kernel.appended[0], *another.appended))
    part = ListPart(first=0, data=data)
    again = ima_log.confirm(part, verified, before=None, now=software_tpm.NOW)
    assert again == found


def test_a_kernel_that_pads_is_recognised_and_refused_with_advice() -> None:
    kernel = booted(padded=True)
    kernel.measure("/usr/bin/agent", b"agent")
    kernel.violate("/etc/shadow")
    part = ListPart(first=0, data=kernel.runtime_measurements())
    error = refused(part, quoted(kernel, "sha256"))
    assert error.code is Code.EVENT_LOG_MISMATCH
    assert error.actual == "SHA-1 digests padded with zeros"
    assert error.hint is not None
    assert "5.8" in error.hint
    assert refused(part, quoted(kernel, "sha1", "sha256")).actual == error.actual
    assert confirmed(kernel, quoted(kernel, "sha1")).log.entries == 3


def test_a_list_that_replays_in_one_bank_only_is_refused_and_not_taken_for_padding() -> None:
    kernel = booted()
    kernel.measure("/usr/bin/agent", b"agent")
    kernel.registers["sha256"] = hashlib.sha256(kernel.registers["sha256"] + bytes(32)).digest()
    part = ListPart(first=0, data=kernel.runtime_measurements())
    error = refused(part, quoted(kernel, "sha1", "sha256"))
    assert (error.code, error.actual) == (Code.EVENT_LOG_MISMATCH, None)


def test_a_quote_without_pcr_10_and_entries_for_other_pcrs_are_refused() -> None:
    kernel = booted()
    without = quoted(kernel)
    (bank,) = without.pcrs
    without = replace(without, pcrs=(PcrBank(bank.bank, bank.values[:-1]),))
    part = ListPart(first=0, data=kernel.runtime_measurements())
    assert refused(part, without).code is Code.EVENT_LOG_MISMATCH
    kernel.append(b"ima-ng", b"sha1:\0" + bytes(20), b"/a\0", register=11)
    part = ListPart(first=0, data=kernel.runtime_measurements())
    error = refused(part, quoted(kernel))
    assert (error.code, error.actual) == (Code.EVENT_LOG_INVALID, "11")


def test_the_boot_aggregate_is_compared_with_the_quoted_pcrs() -> None:
    kernel = booted()
    assert confirmed(kernel).log.boot_aggregate is BootAggregate.CONFIRMED
    other = BOOT | {9: bytes(32)}
    verified = quoted(kernel, boot=other)
    assert confirmed(kernel, verified).log.boot_aggregate is BootAggregate.CONTRADICTED
    some = {index: BOOT[index] for index in range(8)}
    assert (
        confirmed(kernel, quoted(kernel, boot=some)).log.boot_aggregate is BootAggregate.NOT_QUOTED
    )
    without = quoted(kernel, "sha384")
    assert confirmed(kernel, without).log.boot_aggregate is BootAggregate.NOT_QUOTED
    eight = ImaKernel()
    eight.boot(BOOT, last=7)
    assert confirmed(eight).log.boot_aggregate is BootAggregate.CONFIRMED
    strange = ImaKernel()
    strange.append_ng("boot_aggregate", bytes(16), "md5")
    assert confirmed(strange).log.boot_aggregate is BootAggregate.NOT_QUOTED


def test_a_boot_aggregate_by_sha1_covers_pcrs_0_to_7() -> None:
    kernel = ImaKernel()
    pcrs = {index: bytes((index,)) * 20 for index in range(8)}
    kernel.boot(pcrs, "sha1", last=7)
    verified = quoted(kernel, "sha1")
    values = PcrBank(HashAlg.SHA1, (*pcrs.items(), (10, kernel.registers["sha1"])))
    with_boot = replace(verified, pcrs=(values,))
    assert confirmed(kernel, with_boot).log.boot_aggregate is BootAggregate.CONFIRMED
    assert confirmed(kernel, verified).log.boot_aggregate is BootAggregate.NOT_QUOTED


def test_the_aggregate_of_a_real_kernel_without_measured_boot_is_that_of_ten_zero_pcrs() -> None:
    kernel = ImaKernel()
    aggregate = "7b6436b0c98f62380866d9432c2af0ee08ce16a171bda6951aecd95ee1307d61"
    kernel.append_ng("boot_aggregate", bytes.fromhex(aggregate))
    verified = quoted(kernel, boot=dict.fromkeys(range(10), bytes(32)))
    assert confirmed(kernel, verified).log.boot_aggregate is BootAggregate.CONFIRMED


def test_a_file_named_boot_aggregate_is_a_file_and_one_after_kexec_is_not() -> None:
    kernel = ImaKernel()
    kernel.measure("/init", b"init")
    kernel.boot(BOOT)
    log = confirmed(kernel).log
    assert log.boot_aggregate is BootAggregate.ABSENT
    assert [item.path for item in log.measured] == ["/init", "boot_aggregate"]
    kernel = booted()
    kernel.boot(BOOT)  # the list of the kernel before is carried over
    kernel.measure("boot_aggregate", b"malware")
    log = confirmed(kernel).log
    assert log.boot_aggregate is BootAggregate.CONFIRMED
    assert [item.path for item in log.measured] == ["boot_aggregate"]


def test_increments_give_what_the_whole_list_gives() -> None:
    kernel = booted()
    kernel.measure("/usr/bin/agent", b"agent")
    before = confirmed(kernel).state
    kernel.violate("/var/log/wtmp")
    kernel.measure("/usr/bin/agent", b"agent")
    kernel.measure("/usr/bin/agent", b"another")
    verified = quoted(kernel)
    kernel.measure("/usr/bin/late", b"late")
    assert ima_log.next_entry(before, verified) == 2
    again = confirmed(kernel, verified, before)
    assert again == confirmed(kernel, verified)
    assert (again.log.entries, again.log.not_proven) == (5, 1)
    assert [item.path for item in again.log.measured] == ["/usr/bin/agent", "/usr/bin/agent"]
    nothing_new = confirmed(kernel, quoted(kernel), confirmed(kernel).state)
    assert nothing_new == confirmed(kernel)


def test_an_increment_after_a_reset_or_restart_or_in_another_bank_is_refused() -> None:
    kernel = booted()
    before = confirmed(kernel).state
    kernel.measure("/usr/bin/agent", b"agent")
    verified = quoted(kernel)
    part = ListPart(first=1, data=kernel.runtime_measurements(first=1))
    attest = verified.attest
    for changed, kept in (
        (replace(verified, attest=replace(attest, reset_count=attest.reset_count + 1)), before),
        (replace(verified, attest=replace(attest, restart_count=0)), before),
        (quoted(kernel, "sha384", "sha256"), before),
        (verified, None),
        (verified, confirmed(kernel).state),
    ):
        error = refused(part, changed, kept)
        assert error.code is Code.EVENT_LOG_MISMATCH
        assert error.actual == "entry 1"
    assert refused(part, verified, confirmed(kernel).state).expected == "entry 2, or 0"
    whole = ListPart(first=0, data=kernel.runtime_measurements())
    rebooted = replace(verified, attest=replace(attest, reset_count=attest.reset_count + 1))
    fresh = ima_log.confirm(whole, rebooted, before=before, now=software_tpm.NOW)
    assert (fresh.state.entries, fresh.state.reset_count) == (2, attest.reset_count + 1)
    assert refused(replace(part, first=-1), verified, before).actual == "entry -1"


def test_a_list_of_the_boot_before_is_refused() -> None:
    kernel = booted()
    before = confirmed(kernel).state
    rebooted = booted()
    rebooted.measure("/usr/bin/agent", b"agent")
    part = ListPart(first=1, data=kernel.runtime_measurements(first=1))
    assert refused(part, quoted(rebooted), before).code is Code.EVENT_LOG_MISMATCH


def test_more_files_than_are_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = booted()
    for number in range(3):
        kernel.measure(f"/srv/{number}", bytes((number,)))
    part = ListPart(first=0, data=kernel.runtime_measurements())
    monkeypatch.setattr(states, "MAX_MEASURED", 3)
    monkeypatch.setattr(states, "MAX_PATHS", 18)
    assert confirmed(kernel).log.entries == 4
    for name, most in (("MAX_MEASURED", 2), ("MAX_PATHS", 17)):
        monkeypatch.setattr(states, name, most)
        error = refused(part, quoted(kernel))
        assert error.code is Code.EVENT_LOG_INVALID
        assert error.hint is not None
        assert "dont_measure" in error.hint


def test_a_list_that_is_sent_no_more_is_told_as_proven_in_no_bank() -> None:
    kernel = booted()
    kernel.measure("/usr/bin/agent", b"agent")
    kernel.violate("/var/log/wtmp")
    before = confirmed(kernel)
    told = ima_log.stopped(before.state, now=software_tpm.NOW)
    assert (told.banks, told.boot_aggregate) == ((), BootAggregate.NOT_QUOTED)
    assert (told.entries, told.violations, told.not_proven) == (3, 1, 0)
    assert told.measured == before.log.measured


def test_an_increment_of_nothing_keeps_the_state_as_it_is() -> None:
    kernel = booted()
    kernel.measure("/usr/bin/agent", b"agent")
    before = confirmed(kernel).state
    assert confirmed(kernel, before=before).state == before
