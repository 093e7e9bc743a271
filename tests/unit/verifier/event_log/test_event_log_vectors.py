"""Real event logs replay to the registers the manifest names, in every bank."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import tpm_vectors
from fakes.tpm_vectors import Vector

from sealward.verifier.formats.event_log import ccel, facts
from sealward.verifier.formats.event_log import log as logs
from sealward.verifier.formats.event_log import replay as replays
from sealward.verifier.formats.event_log.facts import Standing
from sealward.verifier.formats.event_log.types import SELF_DESCRIBING
from sealward.verifier.wire.reader import Reader
from sealward.verifier.wire.tcg_hash import HashAlg

_TPM_KEYS = {"header", "events", "pcrs"}
_CCEL_KEYS = {"header", "events", "mr"}


@pytest.fixture(scope="module")
def tpm_logs(vectors_dir: Path) -> dict[str, Vector]:
    return tpm_vectors.load(vectors_dir, "tpm-eventlog")


@pytest.fixture(scope="module")
def ccel_logs(vectors_dir: Path) -> dict[str, Vector]:
    return tpm_vectors.load(vectors_dir, "ccel-eventlog")


def replayed(vector: Vector) -> tuple[logs.Log, replays.Replay]:
    data = vector.read("event_log")
    log = logs.parse(data)
    assert logs.encode(log) == data
    head = tpm_vectors.header_in_manifest_words(log, len(data))
    assert head == vector.expect["header"], vector.id
    assert tpm_vectors.event_count(log) == vector.expect["events"], vector.id
    assert vector.entry["result"] == "replays"
    return log, replays.replay(log)


def test_every_tpm_log_replays_to_exactly_the_registers_of_the_manifest(
    tpm_logs: dict[str, Vector],
) -> None:
    for vector in tpm_logs.values():
        assert vector.expect.keys() == _TPM_KEYS
        log, replay = replayed(vector)
        ours = {
            bank.label: {str(register): value.hex() for register, value in values}
            for bank, values in replay.banks
        }
        theirs = vector.expect["pcrs"]
        # The manifest lists the banks its origin asserted: all of ours must be among the log's.
        assert theirs.keys() <= ours.keys()
        assert set(ours) == {bank.label for bank in log.banks}
        assert {bank: ours[bank] for bank in theirs} == theirs, vector.id


def test_every_ccel_replays_to_exactly_the_registers_of_the_manifest(
    ccel_logs: dict[str, Vector],
) -> None:
    for vector in ccel_logs.values():
        assert vector.expect.keys() - {"bank"} == _CCEL_KEYS
        log, replay = replayed(vector)
        ((bank, values),) = replay.banks
        assert bank.label == vector.expect.get("bank", "sha384")
        ours = {register: value.hex() for register, value in values}
        assert ours == {_register(key): value for key, value in vector.expect["mr"].items()}
        assert log.banks == (bank,)


def _register(key: str) -> int:
    """ "mr_index_1 (RTMR0)" or "1"; the name in brackets must be ours."""
    number, _, named = key.removeprefix("mr_index_").partition(" ")
    if named:
        assert ccel.register_name(int(number)) == named.strip("()").lower()
    return int(number)


def test_repeated_separators_are_reported_where_the_manifest_notes_them(
    ccel_logs: dict[str, Vector], tpm_logs: dict[str, Vector]
) -> None:
    found = {
        id_: replays.replay(logs.parse(vector.read("event_log"))).repeated_separators
        for id_, vector in (ccel_logs | tpm_logs).items()
    }
    assert found["ccel-dupe-separator"] == (1,)
    # Counted by hand in the other logs: TDVF of two more guests has the same bug.
    repeating = {id_ for id_, registers in found.items() if registers}
    assert repeating == {"ccel-dupe-separator", "ccel-ccel_data_grub", "ccel-ccel_data_ovmf"}


def test_a_log_with_repeated_separators_authenticates_nothing_in_that_register(
    ccel_logs: dict[str, Vector],
) -> None:
    log = logs.parse(ccel_logs["ccel-dupe-separator"].read("event_log"))
    found = facts.extract(log, HashAlg.SHA384, replays.replay(log).repeated_separators)
    assert [fact.standing for fact in found if fact.register == 1]
    assert all(fact.standing is Standing.DESCRIBED for fact in found if fact.register == 1)


def test_digests_of_self_describing_events_are_those_of_their_data_but_for_known_dialects(
    tpm_logs: dict[str, Vector],
) -> None:
    different: dict[str, int] = {}
    same = 0
    for vector in tpm_logs.values():
        log = logs.parse(vector.read("event_log"))
        for event in log.events:
            if event.type in SELF_DESCRIBING:
                if facts.describes_itself(event, log.banks[-1]):
                    same += 1
                else:
                    key = f"{vector.id} {event.type:#x}"
                    different[key] = different.get(key, 0) + 1
    assert same > 80
    assert different == {
        "evlog-debian-10 0x800000e0": 1,  # shim hashes the certificate without the header
        "evlog-gdc-host 0x8": 1,  # a firmware version by another rule
        "evlog-gdc-host 0x6": 2,  # Linux hashes what the tag names
        "evlog-ubuntu-2404-amd-sevsnp 0x6": 1,
    }


def test_the_facts_of_a_real_boot(tpm_logs: dict[str, Vector]) -> None:
    log = logs.parse(tpm_logs["evlog-ubuntu-2404-amd-sevsnp"].read("event_log"))
    found = facts.extract(log, HashAlg.SHA384, ())
    boot = [fact for fact in found if fact.name == "secure_boot"]
    assert [(fact.value, fact.register, fact.standing) for fact in boot] == [
        ("disabled", 7, Standing.AUTHENTICATED)
    ]
    (line,) = [fact for fact in found if fact.name == "kernel_command_line"]
    assert line.value.startswith("/vmlinuz-6.8.0-1010-gcp root=PARTUUID=")
    assert (line.register, line.standing) == (8, Standing.EXTENDED)
    keys = [fact.value.split()[0] for fact in found if fact.name == "secure_boot_variable"]
    assert keys == ["PK", "KEK", "db", "dbx"]
    assert len([fact for fact in found if fact.name == "boot_application"]) == 2


def test_a_command_line_that_was_changed_in_the_log_is_only_described(
    tpm_logs: dict[str, Vector],
) -> None:
    data = tpm_logs["evlog-ubuntu-2404-amd-sevsnp"].read("event_log")
    forged = data.replace(b"kernel_cmdline: /vmlinuz-6.8", b"kernel_cmdline: /vmlinuz-6.9")
    assert forged != data
    (line,) = [
        fact
        for fact in facts.extract(logs.parse(forged), HashAlg.SHA384, ())
        if fact.name == "kernel_command_line"
    ]
    assert line.standing is Standing.DESCRIBED


def test_the_ccel_of_a_real_td_replays_to_the_registers_of_its_quote(vectors_dir: Path) -> None:
    vector = tpm_vectors.load(vectors_dir, "tdx")["tdx-v4-gcp-cos113"]
    body = vector.expect["body"]
    log = logs.parse(vector.read("ccel"))
    replay = replays.replay(log)
    assert tpm_vectors.event_count(log) == vector.expect["ccel_events"]
    quote = Reader(vector.read("quote"))
    quote.seek(48 + 328, "rtmr0")  # header, then the offset of RTMR0 in the TD report body
    for register in (1, 2, 3):
        value = replay.value(HashAlg.SHA384, register)
        assert value is not None
        named = ccel.register_name(register)
        assert value.hex() == body[named] == vector.expect["ccel_replay"][str(register)]
        assert quote.take(48, "rtmr") == value
    table = ccel.parse_table(vector.read("ccel_acpi_table"))
    assert table.type is ccel.CcType.TDX
    assert table.log_size == len(vector.read("ccel"))
    assert ccel.encode_table(table) == vector.read("ccel_acpi_table")


def test_the_json_log_of_dstack_extends_to_all_four_registers_of_its_quote(
    vectors_dir: Path,
) -> None:
    vector = tpm_vectors.load(vectors_dir, "tdx")["tdx-v4-dstack-lite"]
    events: list[dict[str, Any]] = json.loads(vector.read("event_log"))  # noqa: TID251 - test data
    assert len(events) == vector.expect["event_log_count"]
    registers = [bytes(48)] * 4
    for event in events:
        digest = bytes.fromhex(event["digest"])
        if event["event_type"] == 0x08000001:  # a run-time event of the application
            payload, named = bytes.fromhex(event["event_payload"]), event["event"].encode()
            said = (0x08000001).to_bytes(4, "little") + b":" + named + b":" + payload
            assert digest in (b"", HashAlg.SHA384.digest(said))
            digest = HashAlg.SHA384.digest(said)
        at = int(event["imr"])
        registers[at] = replays.extend(HashAlg.SHA384, registers[at], digest)
    body = vector.expect["body"]
    assert [value.hex() for value in registers] == [body[f"rtmr{n}"] for n in range(4)]
