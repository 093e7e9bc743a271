"""From entries in transactions to an export that is verified with nothing but a public key."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.state import NOW, ManualClock, an_entry, database_url, open_database
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.adapters.keystore import file
from sealward.controlplane.adapters.keystore.file import FileKeystore
from sealward.controlplane.cli.audit_verify import audit_verify
from sealward.controlplane.domain import checkpoint as notes
from sealward.controlplane.domain.audit import AuditKind, commitment, entry, leaf_bytes
from sealward.controlplane.domain.audit_export import (
    ExportRefused,
    checkpoint_line,
    entry_line,
    header_line,
    read_line,
)
from sealward.controlplane.domain.audit_verify import Finding, verify_export
from sealward.controlplane.domain.errors import Code, Conflict, DomainError, Unavailable
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.merkle import leaf_hash, root_of
from sealward.controlplane.services.audit_export import export_log
from sealward.controlplane.services.sequencer import Sequencer

DOMAIN = "sealward.invalid"


@dataclass(frozen=True)
class Log:
    folder: Path
    database: SqliteDatabase
    keystore: FileKeystore
    clock: ManualClock
    sequencer: Sequencer

    def append(self, count: int) -> None:
        for number in range(count):
            self.database.write(lambda tx, n=number: tx.audit.append(an_entry(n)))

    def lines(self) -> list[bytes]:
        return list(export_log(self.database, self.sequencer.key.name))

    def edit(self, statement: str) -> None:
        with closing(sqlite3.connect(self.folder / "state.db")) as connection, connection:
            assert connection.execute(statement).rowcount == 1


def sequencer_of(log: Log) -> Sequencer:
    return Sequencer(
        database=log.database, keystore=log.keystore, clock=log.clock, trust_domain=DOMAIN
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    file.create(tmp_path / "keys", secrets.token_bytes)
    keystore = FileKeystore(tmp_path / "keys", secrets.token_bytes)
    database = open_database(tmp_path)
    clock = ManualClock()
    sequencer = Sequencer(database=database, keystore=keystore, clock=clock, trust_domain=DOMAIN)
    yield Log(tmp_path, database, keystore, clock, sequencer)
    database.close()


def test_an_entry_commits_to_its_body_without_showing_it() -> None:
    made = entry(AuditKind.node_enrolled, {"b": 1, "a": "x"}, now=NOW, random_bytes=bytes)
    assert made.body == '{"a":"x","b":1}'
    committed = commitment(bytes(32), b'{"a":"x","b":1}')
    leaf = leaf_bytes("node.enrolled", 1788264000250, "default", committed)
    assert made.leaf_hash == leaf_hash(leaf)
    assert made.body.encode() not in leaf
    assert "salt" not in repr(made)
    other = entry(
        AuditKind.node_enrolled, {"b": 1, "a": "x"}, now=NOW, random_bytes=secrets.token_bytes
    )
    assert other.leaf_hash != made.leaf_hash, "equal bodies are not recognisable as equal"


def test_an_export_opens_the_entries_of_its_own_tenant_only(log: Log, tmp_path: Path) -> None:
    """The log is one; what another tenant's entries say is that tenant's to show (F27)."""
    log.append(2)
    other = SqliteDatabase(database_url(tmp_path), tenant="acme")
    try:
        theirs = entry(
            AuditKind.node_enrolled,
            {"of": "acme"},
            now=NOW,
            random_bytes=secrets.token_bytes,
            tenant="acme",
        )
        other.write(lambda tx: tx.audit.append(theirs))
        log.sequencer.turn()
        ours = log.lines()
        acmes = list(export_log(other, log.sequencer.key.name))
    finally:
        other.close()

    def opened(lines: list[bytes]) -> list[bool]:
        return [line.body is not None for line in map(read_line, lines) if hasattr(line, "body")]

    assert opened(ours) == [True, True, False]
    assert opened(acmes) == [False, False, True]
    assert theirs.salt.hex().encode() not in b"".join(ours)
    for lines in (ours, acmes):
        report = verify_export(iter(lines), log.sequencer.key)
        assert (report.ok, report.entries) == (True, 3)


def test_entries_are_placed_in_order_of_arrival_and_signed(log: Log) -> None:
    assert log.sequencer.turn() is None
    entries = [an_entry(number, NOW - timedelta(seconds=number)) for number in range(5)]
    log.database.write(lambda tx: [tx.audit.append(made) for made in entries])
    stored = log.sequencer.turn()
    assert stored is not None
    assert (stored.size, stored.created) == (5, log.clock.now())
    assert stored.root == root_of([made.leaf_hash for made in entries])
    assert notes.verify(stored.note, log.sequencer.key).root == stored.root
    placed = log.database.read(lambda tx: tx.audit.entries(0, limit=9))
    assert placed == tuple(replace(made, log_index=n) for n, made in enumerate(entries))
    assert log.sequencer.turn() is None
    listed = log.database.read(lambda tx: tx.audit.page(limit=9)).items
    assert {made.entry_id for made in listed} == {made.entry_id for made in entries}


def test_a_restarted_sequencer_goes_on_where_the_last_one_stopped(log: Log) -> None:
    log.append(3)
    log.sequencer.turn()
    log.append(4)
    second = sequencer_of(log).turn()
    assert second is not None
    assert second.size == 7
    assert verify_export(log.lines(), log.sequencer.key).ok


def test_a_crash_between_placing_and_signing_is_signed_later(log: Log) -> None:
    log.append(3)
    waiting = log.database.read(lambda tx: tx.audit.unsequenced(limit=9))
    log.database.write(lambda tx: tx.audit.place(0, [entry_id for entry_id, _ in waiting]))
    stored = log.sequencer.turn()
    assert stored is not None
    assert stored.size == 3


def test_two_sequencers_never_fork_the_log(log: Log) -> None:
    rival = sequencer_of(log)
    rival.turn()
    log.sequencer.turn()
    log.append(2)
    log.sequencer.turn()
    log.append(2)
    with pytest.raises(Conflict):
        rival.turn()
    assert rival.turn() is not None, "it starts again from what the other wrote"
    assert verify_export(log.lines(), log.sequencer.key).entries == 4


def test_a_log_that_was_changed_behind_us_is_not_signed_any_further(log: Log) -> None:
    log.append(3)
    log.sequencer.turn()
    log.edit("UPDATE audit_entries SET leaf_hash = lower(hex(zeroblob(32))) WHERE log_index = 1")
    log.append(1)
    with pytest.raises(Unavailable) as caught:
        sequencer_of(log).turn()
    assert caught.value.code is Code.log_unavailable


def test_a_log_that_was_cut_behind_us_is_not_signed_any_further(log: Log) -> None:
    log.append(3)
    log.sequencer.turn()
    log.edit("DELETE FROM audit_entries WHERE log_index = 2")
    with pytest.raises(Unavailable):
        sequencer_of(log).turn()
    with pytest.raises(Unavailable):
        log.lines()


def test_the_loop_signs_and_takes_a_last_turn_when_stopped(log: Log) -> None:
    stop = threading.Event()
    errors: list[DomainError] = []
    thread = threading.Thread(target=log.sequencer.run, args=(stop, errors.append, 30.0))
    thread.start()
    log.append(2)
    stop.set()
    thread.join(20)
    latest = log.database.read(lambda tx: tx.audit.latest_checkpoint())
    assert latest is not None
    assert latest.size == 2
    assert errors == []


def test_the_loop_reports_what_fails_and_goes_on(log: Log) -> None:
    log.append(1)
    log.sequencer.turn()
    log.edit("UPDATE audit_entries SET leaf_hash = lower(hex(zeroblob(32)))")
    stop = threading.Event()
    errors: list[DomainError] = []

    def note(error: DomainError) -> None:
        errors.append(error)
        if len(errors) == 2:
            stop.set()

    sequencer_of(log).run(stop, note, 0.001)
    assert [error.code for error in errors[:2]] == [Code.log_unavailable] * 2


def test_a_place_is_given_once(log: Log) -> None:
    log.append(2)
    first, second = (e for e, _ in log.database.read(lambda tx: tx.audit.unsequenced(limit=9)))
    log.database.write(lambda tx: tx.audit.place(0, [first]))
    for index, entry_ids in ((1, [first]), (1, [second, first]), (0, [second]), (1, ["absent"])):
        with pytest.raises(Conflict) as caught:
            log.database.write(lambda tx, i=index, ids=entry_ids: tx.audit.place(i, ids))
        assert caught.value.code is Code.state_changed
    log.database.write(lambda tx: tx.audit.place(1, [second]))
    placed = log.database.read(lambda tx: tx.audit.entries(0, limit=9))
    assert [e.entry_id for e in placed] == [first, second]


def test_another_tenants_entry_is_not_appended(log: Log) -> None:
    foreign = entry(
        AuditKind.node_enrolled, {}, now=NOW, random_bytes=secrets.token_bytes, tenant="other"
    )
    with pytest.raises(ValueError, match="another tenant"):
        log.database.write(lambda tx: tx.audit.append(foreign))


@pytest.fixture
def export(log: Log) -> list[bytes]:
    """Header, 3 entries, checkpoint, 2 entries, checkpoint."""
    log.append(3)
    log.sequencer.turn()
    log.append(2)
    log.sequencer.turn()
    log.append(1)  # waits: not part of an export before it is signed for
    return log.lines()


def finding(
    lines: list[bytes], log: Log, kept: tuple[notes.Checkpoint, ...] = ()
) -> Finding | None:
    report = verify_export(lines, log.sequencer.key, kept)
    assert report.ok is (report.problem is None)
    return report.problem.finding if report.problem else None


def test_an_untouched_export_is_verified(log: Log, export: list[bytes]) -> None:
    report = verify_export(export, log.sequencer.key)
    assert report.ok
    assert (report.entries, report.opened, report.checkpoints, report.covered) == (5, 5, 2, 5)
    latest = log.database.read(lambda tx: tx.audit.latest_checkpoint())
    assert latest is not None
    assert report.root == latest.root.hex()


def test_a_closed_entry_proves_its_place_without_its_body(log: Log, export: list[bytes]) -> None:
    second = log.database.read(lambda tx: tx.audit.entries(1, limit=1))[0]
    closed = entry_line(second, opened=False)
    assert second.salt.hex().encode() not in closed
    report = verify_export([*export[:2], closed, *export[3:]], log.sequencer.key)
    assert (report.ok, report.opened) == (True, 4)


def test_every_tampered_character_of_an_export_is_found(log: Log, export: list[bytes]) -> None:
    for number, line in enumerate(export):
        for position in range(len(line)):
            changed = bytearray(line)
            changed[position] ^= 1
            lines = [*export[:number], bytes(changed), *export[number + 1 :]]
            assert finding(lines, log) is not None, (number, position)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([], Finding.entries_uncovered),
        ([0], Finding.entries_uncovered),
        ([1, 2, 3, 4], Finding.malformed),
        ([0, 0, 1, 2, 3, 4], Finding.malformed),
        ([0, 1, 2, 3], Finding.entries_uncovered),
        ([0, 1, 2, 3, 4, 5], Finding.entries_uncovered),
        ([0, 1, 3, 4], Finding.index_gap),
        ([0, 1, 2, 4, 3], Finding.index_gap),
        ([0, 2, 1, 3, 4], Finding.index_gap),
        ([0, 1, 2, 3, 7], Finding.index_gap),
        ([0, 1, 2, 3, 4, 5, 6, 4], Finding.index_gap),
        ([0, 1, 1, 2, 3, 4], Finding.index_gap),
        ([0, 1, 2, 3, 5, 6, 7], None),
        ([0, 1, 2, 3, 4], None),
    ],
    ids=range(14),
)
def test_lines_that_are_missing_or_moved_are_found(
    log: Log, export: list[bytes], order: list[int], expected: Finding | None
) -> None:
    assert finding([export[number] for number in order], log) is expected


def test_an_entry_that_another_took_the_place_of_is_found(log: Log, export: list[bytes]) -> None:
    forged = entry_line(replace(an_entry(99), log_index=1))
    report = verify_export([*export[:2], forged, *export[3:]], log.sequencer.key)
    assert report.problem is not None
    assert report.problem.finding is Finding.root_mismatch
    assert report.problem.line == 5
    assert "from 0 to 2" in report.problem.detail


def test_a_log_signed_by_another_key_is_found(
    log: Log, export: list[bytes], tmp_path: Path
) -> None:
    file.create(tmp_path / "others", secrets.token_bytes)
    other = FileKeystore(tmp_path / "others", secrets.token_bytes)
    key = notes.LogKey(log.sequencer.key.name, other.public(KeyPurpose.log))
    report = verify_export(export, key)
    assert report.problem is not None
    assert report.problem.finding is Finding.checkpoint_refused
    key = notes.LogKey("other.invalid/log", other.public(KeyPurpose.log))
    report = verify_export(export, key)
    assert report.problem is not None
    assert report.problem.finding is Finding.wrong_log


def test_a_rewritten_log_contradicts_a_kept_checkpoint(log: Log, export: list[bytes]) -> None:
    """The holder of the log key can sign another history, but not the one that was seen."""
    key = log.sequencer.key
    lines, size, hashes = [header_line(key.name)], 5, []
    for index in range(size):
        made = replace(an_entry(1000 + index), log_index=index)
        hashes.append(made.leaf_hash)
        lines.append(entry_line(made))
    forged = notes.Checkpoint(key.name, size, root_of(hashes))
    signer = log.keystore.sign
    lines.append(checkpoint_line(notes.sign(forged, key, lambda b: signer(KeyPurpose.log, b))))
    stored = log.database.read(lambda tx: tx.audit.checkpoints(0, limit=9))
    first, last = (notes.verify(checkpoint.note, key) for checkpoint in stored)
    assert finding(lines, log) is None
    assert finding(lines, log, (last,)) is Finding.kept_checkpoint_contradicted
    assert finding(lines, log, (last, first)) is Finding.kept_checkpoint_contradicted
    assert finding(export, log, (last, first)) is None
    assert finding(export[:5], log, (first, last)) is Finding.kept_checkpoint_missing


@given(st.binary(max_size=300))
def test_reading_a_line_is_total(data: bytes) -> None:
    with pytest.raises(ExportRefused):
        read_line(data)


_MEMBERS = st.dictionaries(
    st.sampled_from(["type", "v", "origin", "index", "kind", "tenant", "time", "salt", "body"]),
    st.sampled_from(["entry", "header", "checkpoint", "ab" * 32])
    | st.integers(-1, 3)
    | st.none()
    | st.lists(st.integers(), max_size=1),
)


@given(_MEMBERS)
def test_a_line_that_is_read_is_the_only_way_to_write_it(members: dict[str, object]) -> None:
    from json import dumps  # noqa: PLC0415 - beside the strict reader under test

    text = dumps(members, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    try:
        read_line(text)
    except ExportRefused:
        return
    for other in (text[:-1], b" " + text, text + b"\n", text.replace(b":", b": ", 1)):
        with pytest.raises(ExportRefused):
            read_line(other)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(audit_verify, list(arguments))
    return result.exit_code, result.output


def test_the_command_says_verified_or_where_it_is_not(
    log: Log, export: list[bytes], tmp_path: Path
) -> None:
    exported, key, kept = tmp_path / "log.jsonl", tmp_path / "log.pub", tmp_path / "kept"
    exported.write_bytes(b"".join(export))
    key.write_text(log.sequencer.key.text() + "\n")
    latest = log.database.read(lambda tx: tx.audit.latest_checkpoint())
    assert latest is not None
    kept.write_text(latest.note)
    arguments = (str(exported), "--log-key", str(key), "--checkpoint", str(kept))
    code, output = run(*arguments)
    assert (code, "verified" in output) == (0, True)
    code, output = run(*arguments, "--json")
    report = json.loads(output)  # noqa: TID251 - our own output
    assert (code, report["ok"], report["problem"]) == (0, True, None)
    exported.write_bytes(b"".join(export).replace(b"node.attested", b"node.released", 1))
    code, output = run(*arguments)
    assert (code, "REFUSED at line 5: root_mismatch" in output) == (1, True)
    code, output = run(*arguments, "--json")
    problem = json.loads(output)["problem"]  # noqa: TID251 - our own output
    assert (code, problem["finding"]) == (1, "root_mismatch")


def test_the_command_refuses_a_key_or_checkpoint_that_is_none(
    log: Log, export: list[bytes], tmp_path: Path
) -> None:
    exported, key, bad = tmp_path / "log.jsonl", tmp_path / "log.pub", tmp_path / "bad"
    exported.write_bytes(b"".join(export))
    key.write_text(log.sequencer.key.text())
    for content in (b"", b"\xff\xfe", b"x" * 100_000):
        bad.write_bytes(content)
        assert run(str(exported), "--log-key", str(bad))[0] == 2
        assert run(str(exported), "--log-key", str(key), "--checkpoint", str(bad))[0] == 2


def test_the_command_lets_no_terminal_be_driven_by_the_file(log: Log, tmp_path: Path) -> None:
    exported, key = tmp_path / "log.jsonl", tmp_path / "log.pub"
    key.write_text(log.sequencer.key.text())
    for hostile in (b'{"\x1b[2J":1,"type":"header"}\n', b"\x1b[2J\n", b"x" * 2_000_000):
        exported.write_bytes(header_line(log.sequencer.key.name) + hostile)
        code, output = run(str(exported), "--log-key", str(key))
        assert (code, "\x1b" in output) == (1, False)
