"""Reports through configfs-tsm, against a tree with the kernel's semantics."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import configfs_tsm as fake
from fakes import snp_fixtures
from fakes.configfs_tsm import FakeConfigfsTsm
from hypothesis import given, settings
from hypothesis import strategies as st

from sealward.enclave_agent.attesters import configfs_tsm
from sealward.enclave_agent.attesters.configfs_tsm import (
    ATTEMPTS,
    MAX_BLOB,
    SEV_GUEST,
    TDX_GUEST,
    Configfs,
    ConfigfsTsm,
    Provider,
)
from sealward.enclave_agent.attesters.port import AttesterUnavailable

OURS = bytes(range(64))
THEIRS = bytes(range(64, 128))


def reports(
    tree: FakeConfigfsTsm, provider: Provider = SEV_GUEST, slept: list[float] | None = None
) -> ConfigfsTsm:
    pauses: list[float] = [] if slept is None else slept
    return ConfigfsTsm(
        provider, tree, random_bytes=snp_fixtures.stream("names"), sleep=pauses.append
    )


def snp_tree(**changes: object) -> FakeConfigfsTsm:
    return FakeConfigfsTsm(fake.sev_guest(fake.plain_report), **changes)


def refusal(tree: FakeConfigfsTsm, provider: Provider = SEV_GUEST) -> str:
    with pytest.raises(AttesterUnavailable) as caught:
        reports(tree, provider).report(OURS, auxiliary=provider is SEV_GUEST)
    assert tree.entries == {}
    return str(caught.value)


def test_a_report_carries_what_was_asked_and_its_entry_is_gone() -> None:
    tree = snp_tree()
    made = reports(tree).report(OURS, auxiliary=True)
    assert (made.outblob, made.auxblob) == fake.plain_report(fake.Request(OURS))
    assert (tree.entries, tree.made) == ({}, 1)


def test_a_provider_without_levels_and_auxiliary_data_gives_its_report() -> None:
    tree = FakeConfigfsTsm(fake.tdx_guest(fake.plain_report))
    made = reports(tree, TDX_GUEST).report(OURS, auxiliary=False)
    assert OURS in made.outblob
    assert made.auxblob == b""


def test_a_guest_below_level_0_asks_for_its_own_level() -> None:
    tree = FakeConfigfsTsm(fake.sev_guest(fake.plain_report, floor=2))
    made = reports(tree).report(OURS, auxiliary=True)
    assert (made.outblob, made.auxblob) == fake.plain_report(fake.Request(OURS, level=2))


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EAGAIN, errno.EINTR])
def test_a_busy_provider_is_asked_again_after_growing_pauses(number: int) -> None:
    tree, slept = snp_tree(making_fails=[number] * 3), []
    assert OURS in reports(tree, slept=slept).report(OURS, auxiliary=True).outblob
    assert slept == [0.25, 0.5, 1.0]


def test_a_provider_that_stays_busy_is_given_up_with_a_reason() -> None:
    tree = snp_tree(making_fails=[errno.EBUSY] * 100)
    assert refusal(tree) == "Configfs-tsm is busy with requests of others (6 attempts)."
    assert len(tree.making_fails) == 100 - ATTEMPTS


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ETIMEDOUT, "host did not answer"),
        (errno.EFBIG, "more than the 65536 bytes"),
        (errno.ENOTTY, "new start of this guest"),
        (errno.EIO, "refuses to make a report"),
    ],
)
def test_what_will_not_pass_is_not_asked_again(number: int, told: str) -> None:
    tree = snp_tree(making_fails=[number] * 2)
    assert told in refusal(tree)
    assert tree.making_fails == [number]


def test_a_commit_that_the_kernel_dropped_is_noticed() -> None:
    """Closing `inblob` does not tell that the write was refused: the generation does."""
    tree = snp_tree()

    def wrap(entry: str) -> None:
        tree.entries[entry].written = fake.GENERATIONS - 1

    tree.step = wrap
    assert "Another process wrote" in refusal(tree)
    assert tree.made == 0


def test_a_driver_that_answers_with_another_report_is_not_believed() -> None:
    def cached(request: fake.Request) -> tuple[bytes, bytes]:
        return fake.plain_report(fake.Request(THEIRS, request.level))

    assert "Another process wrote" in refusal(FakeConfigfsTsm(fake.sev_guest(cached)))


OBSTACLES: list[tuple[Callable[[], FakeConfigfsTsm], Provider, str]] = [
    (lambda: snp_tree(made_fails=errno.ENOENT), SEV_GUEST, "CONFIG_SEV_GUEST"),
    (lambda: snp_tree(made_fails=errno.ENOENT), TDX_GUEST, "modprobe tdx-guest"),
    (lambda: FakeConfigfsTsm(None), SEV_GUEST, "modprobe sev-guest"),
    (lambda: snp_tree(made_fails=errno.EACCES), SEV_GUEST, "CAP_DAC_OVERRIDE"),
    (lambda: snp_tree(writing_fails=errno.EACCES), SEV_GUEST, "CAP_DAC_OVERRIDE"),
    (lambda: snp_tree(made_fails=errno.EROFS), SEV_GUEST, "ReadWritePaths"),
    (snp_tree, TDX_GUEST, "is of 'sev_guest', not tdx_guest"),
]


@pytest.mark.parametrize("number", range(len(OBSTACLES)))
def test_every_obstacle_is_named_with_its_remedy_before_and_when_it_matters(number: int) -> None:
    build, provider, told = OBSTACLES[number]
    tree = build()
    obstacle = reports(tree, provider).obstacle()
    assert obstacle is not None
    assert told in obstacle
    assert "\n" not in obstacle
    assert not obstacle.endswith(".")
    assert (tree.entries, tree.made) == ({}, 0)
    assert told in refusal(build(), provider)


def test_probing_asks_for_no_report_and_counts_no_write() -> None:
    tree, seen = snp_tree(), set()
    tree.step = lambda entry: seen.add(tree.entries[entry].written)
    assert reports(tree).obstacle() is None
    assert (tree.made, tree.entries, seen) == (0, {}, {0})


def write_theirs(tree: FakeConfigfsTsm, entry: str) -> None:
    tree.open(entry).write("inblob", THEIRS)


def write_short(tree: FakeConfigfsTsm, entry: str) -> None:
    tree.open(entry).write("inblob", THEIRS[:10])


def choose_level(tree: FakeConfigfsTsm, entry: str) -> None:
    tree.open(entry).write("privlevel", b"3")


def choose_service(tree: FakeConfigfsTsm, entry: str) -> None:
    tree.open(entry).write("service_provider", b"svsm\n")


def read_report(tree: FakeConfigfsTsm, entry: str) -> None:
    tree.open(entry).read("outblob")


def read_table(tree: FakeConfigfsTsm, entry: str) -> None:
    tree.open(entry).read("auxblob")


def take_away(tree: FakeConfigfsTsm, entry: str) -> None:
    tree.open(entry).remove()


def put_another(tree: FakeConfigfsTsm, entry: str) -> None:
    tree.open(entry).remove()
    tree.make(entry)
    tree.open(entry).write("inblob", THEIRS)


STRANGER = [
    write_theirs,
    write_short,
    choose_level,
    choose_service,
    read_report,
    read_table,
    take_away,
    put_another,
]


@settings(max_examples=400, deadline=None)
@given(
    steps=st.lists(st.lists(st.sampled_from(STRANGER), max_size=2), max_size=60),
    floor=st.integers(0, 3),
    quiet=st.integers(0, 8),
)
def test_whatever_another_writer_does_the_report_is_ours_or_none(
    steps: list[list[Callable[[FakeConfigfsTsm, str], None]]], floor: int, quiet: int
) -> None:
    """A second process with the same rights acts wherever it can, after some quiet."""
    tree = FakeConfigfsTsm(fake.sev_guest(fake.plain_report, floor=floor))
    plan = iter([*[[]] * quiet, *steps])

    def interfere(entry: str) -> None:
        tree.step = lambda _: None  # the stranger is not interrupted by himself
        try:
            for action in next(plan, []):
                try:
                    action(tree, entry)
                except OSError:
                    continue
        finally:
            tree.step = interfere

    tree.step = interfere
    try:
        made = reports(tree).report(OURS, auxiliary=True)
    except AttesterUnavailable:
        made = None
    if made is not None:
        level = made.outblob.removeprefix(b"report|" + OURS + b"|")
        assert len(level) == 1, "a report over something else"
        request = fake.Request(OURS, level=level[0])
        assert (made.outblob, made.auxblob) == fake.plain_report(request)
    assert not any(name.startswith("sealward-") for name in tree.entries)


@pytest.mark.parametrize("at", range(12))
def test_one_interruption_anywhere_costs_one_more_attempt_at_most(at: int) -> None:
    tree, slept, count = snp_tree(), [], 0

    def once(entry: str) -> None:
        nonlocal count
        count += 1
        if count == at + 1:
            tree.step = lambda _: None
            write_theirs(tree, entry)

    tree.step = once
    made = reports(tree, slept=slept).report(OURS, auxiliary=True)
    assert made.outblob == fake.plain_report(fake.Request(OURS))[0]
    assert len(slept) <= 1


def test_the_port_of_this_machine_does_plain_file_operations(tmp_path: Path) -> None:
    directory = Configfs(tmp_path)
    entry, folder = directory.make("entry"), tmp_path / "entry"
    (folder / "inblob").write_bytes(b"")
    entry.open_for_writing("inblob")
    entry.write("inblob", OURS)
    assert entry.read("inblob") == OURS
    (folder / "outblob").write_bytes(bytes(MAX_BLOB))
    assert entry.read("outblob") == bytes(MAX_BLOB)
    (folder / "outblob").write_bytes(bytes(MAX_BLOB + 1))
    with pytest.raises(OSError, match="longer") as caught:
        entry.read("outblob")
    assert caught.value.errno == errno.EFBIG
    with pytest.raises(FileNotFoundError):
        entry.write("privlevel", b"0")
    with pytest.raises(FileExistsError):
        directory.make("entry")
    for name in ("inblob", "outblob"):
        (folder / name).unlink()  # configfs takes them along
    entry.remove()
    assert list(tmp_path.iterdir()) == []


def test_an_entry_that_was_replaced_under_its_name_is_gone(tmp_path: Path) -> None:
    entry, folder = Configfs(tmp_path).make("entry"), tmp_path / "entry"
    folder.rmdir()
    folder.mkdir()
    (folder / "outblob").write_bytes(THEIRS)
    with pytest.raises(FileNotFoundError):
        entry.read("outblob")


def test_a_machine_without_the_interface_says_what_would_bring_it(tmp_path: Path) -> None:
    files = Configfs(tmp_path / "absent")
    made = ConfigfsTsm(SEV_GUEST, files, random_bytes=bytes, sleep=lambda _: None)
    assert "there is no /sys/kernel/config/tsm/report" in str(made.obstacle())
    assert configfs_tsm.ROOT.as_posix() == "/sys/kernel/config/tsm/report"
