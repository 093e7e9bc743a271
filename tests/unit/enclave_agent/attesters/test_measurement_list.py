"""The kernel's list is cut between entries, and what cannot be sent is said in a sentence."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from fakes.ima_kernel import ImaKernel, digest_of
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.attesters.port import AttesterUnavailable, RuntimeLogPart
from sealward.enclave_agent.attesters.tpm import lock, measurement_list, settings
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, PcrBank, PcrSelection
from sealward.enclave_agent.attesters.tpm.measurement_list import MeasurementList
from sealward.protos.tpm_node import MAX_RUNTIME_LOG

LIST = Path("/list")
PATH = measurement_list.PATH


def kernel_of_all_templates() -> ImaKernel:
    kernel = ImaKernel()
    kernel.boot(dict.fromkeys(range(10), bytes(32)))
    kernel.append_first("/sbin/init", bytes(20))
    kernel.measure("/usr/bin/a b", b"one", signature=bytes(520))
    kernel.violate("/var/log/wtmp")
    kernel.measure_buffer("kexec-cmdline", b"quiet")
    kernel.append_first("/x" * 100, bytes(20))
    kernel.append_ng("/usr/lib/x", digest_of(b"two", "sha512"), "sha512")
    return kernel


@given(st.integers(0, 7))
def test_a_list_is_cut_between_two_entries(proven: int) -> None:
    kernel = kernel_of_all_templates()
    part = MeasurementList(LIST, kernel.runtime_measurements()).behind(proven)
    assert part == RuntimeLogPart(proven, kernel.runtime_measurements(first=proven))


@pytest.mark.parametrize("proven", [8, 2**63, 2**64 - 1])
def test_a_shorter_list_than_was_proven_is_sent_whole(proven: int) -> None:
    data = kernel_of_all_templates().runtime_measurements()
    assert MeasurementList(LIST, data).behind(proven) == RuntimeLogPart(0, data)


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1))
def test_any_bytes_are_cut_or_refused(data: bytes, proven: int) -> None:
    with suppress(AttesterUnavailable):
        part = MeasurementList(LIST, data).behind(proven)
        assert data.endswith(part.data)
        assert part.first in (0, proven)


def test_a_list_cut_short_is_refused_where_it_is_looked_at() -> None:
    data = kernel_of_all_templates().runtime_measurements()[:-1]
    listed = MeasurementList(LIST, data)
    assert listed.behind(6).first == 6
    with pytest.raises(AttesterUnavailable, match="no list"):
        listed.behind(7)


def test_only_what_is_not_proven_counts_against_the_budget() -> None:
    kernel = ImaKernel()
    kernel.measure("/usr/bin/first", b"first")
    head = kernel.runtime_measurements()
    rest = bytes(MAX_RUNTIME_LOG)
    assert MeasurementList(LIST, head + rest).behind(1) == RuntimeLogPart(1, rest)
    with pytest.raises(AttesterUnavailable, match=r"at most 3145728 are sent .*dont_measure"):
        MeasurementList(LIST, head + rest).behind(0)


def test_the_file_is_read_as_it_is_and_told_when_it_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "list"
    for missing in (file, file / "below"):
        with pytest.raises(AttesterUnavailable, match=r"There is no .*IMA"):
            measurement_list.read(missing)
    file.write_bytes(b"")
    with pytest.raises(AttesterUnavailable, match="measures nothing"):
        measurement_list.read(file)
    file.write_bytes(b"entries")
    assert measurement_list.read(file).data == b"entries"
    assert "entries" not in repr(measurement_list.read(file))
    with file.open("wb") as sparse:
        sparse.truncate(measurement_list.MAX_BYTES + 1)
    with pytest.raises(AttesterUnavailable, match="longer than the"):
        measurement_list.read(file)
    with pytest.raises(AttesterUnavailable, match="gives an error: Is a directory"):
        measurement_list.read(tmp_path)


def test_a_file_of_another_user_is_told() -> None:
    """Root, which may run this, reads everything."""
    told = measurement_list._why(LIST, PermissionError())  # noqa: SLF001 - as read() tells it
    assert told == "This user may not read /list: let its group be the agent's when it starts."


# Settings.


def selected(**table: object) -> tuple[tuple[int, ...], ...]:
    return tuple(item.indices for item in settings.read(table).selections)


def test_a_list_has_pcr_10_quoted_beside_the_others() -> None:
    assert settings.read({}).ima is None
    assert selected(ima=PATH) == (tuple(range(15)),)
    assert settings.read({"ima": PATH}).ima == Path(PATH)
    two = "sha256:0,1+sha384:11"
    assert selected(pcrs=two, ima=PATH) == ((0, 1, 10), (10, 11))
    assert selected(pcrs="sha1:10+sha256:0", ima=PATH) == ((10,), (0,)), "one bank was chosen"


@pytest.mark.parametrize("pcrs", ["sha256:10", "sha1:10+sha256:10"])
def test_pcr_10_alone_locks_nothing_and_is_refused(pcrs: str) -> None:
    with pytest.raises(AttesterUnavailable, match="another PCR than 10"):
        settings.read({"pcrs": pcrs})


@pytest.mark.parametrize("ima", ["", "list", 1])
def test_the_list_is_named_by_an_absolute_path(ima: object) -> None:
    with pytest.raises(AttesterUnavailable, match="ima must be"):
        settings.read({"ima": ima})


def test_a_lock_is_made_for_everything_but_pcr_10() -> None:
    value = bytes(32)
    quoted = (
        PcrBank(HashAlg.SHA256, ((0, value), (10, value), (11, value))),
        PcrBank(HashAlg.SHA384, ((10, bytes(48)),)),
    )
    (lasting,) = lock.lasting(quoted)
    assert lasting.selection == PcrSelection(HashAlg.SHA256, (0, 11))
