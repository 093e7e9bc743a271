"""The boot stand-in: its log, its registers and its reference values belong together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from sealward_devkit.cli import main
from sealward_devkit.tpm import boot

from sealward.controlplane.services import reference_documents
from sealward.verifier.composite import measured_boot
from sealward.verifier.formats.event_log import log as logs
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from pathlib import Path

TRUST = b'{"trust": "configuration"}'
EVENTS = boot.boot("agent-1.0", TRUST)


def banks(events: tuple[boot.Measured, ...]) -> tuple[PcrBank, ...]:
    return tuple(
        PcrBank(HashAlg[bank.upper()], tuple(sorted(boot.registers(events, bank).items())))
        for bank in boot.BANKS
    )


def test_the_verifier_confirms_every_register_that_the_log_measures_into() -> None:
    confirmed = measured_boot.confirm(boot.event_log(EVENTS), banks(EVENTS))
    assert confirmed.confirmed == (*range(10), 12, 14)
    assert confirmed.contradicted == ()
    assert confirmed.repeated_separators == ()
    facts = {fact.name: (fact.value, fact.standing) for fact in confirmed.facts}
    assert facts["secure_boot"] == ("enabled", "authenticated")
    line, standing = facts["kernel_command_line"]
    assert line.startswith("/vmlinuz ro dm-verity=")
    assert standing == "extended"


def test_the_log_of_another_firmware_is_refused() -> None:
    other = boot.Measured(0, 8, b"another firmware", b"another firmware")
    with pytest.raises(RefusedEvidence) as caught:
        measured_boot.confirm(boot.event_log((other, *EVENTS)), banks(EVENTS))
    assert caught.value.code is Code.EVENT_LOG_MISMATCH


def test_the_log_is_one_that_the_verifier_writes_back_the_same() -> None:
    log = boot.event_log(EVENTS)
    parsed = logs.parse(log)
    assert logs.encode(parsed) == log
    assert len(parsed.events) == len(EVENTS)


def test_images_differ_in_what_is_theirs_and_trust_in_one_register() -> None:
    mine = boot.registers(EVENTS)
    other = boot.registers(boot.boot("agent-1.1", TRUST))
    trusting = boot.registers(boot.boot("agent-1.0", TRUST + b" "))
    assert {at for at in mine if mine[at] != other[at]} == {8, 9, 12}
    assert {at for at in mine if mine[at] != trusting[at]} == {14}


def test_reference_values_are_one_boot_that_covers_the_whole_chain() -> None:
    values = boot.reference_values("agent-1.0", TRUST)
    keys = [str(value["key"]) for value in values]
    assert keys == [f"sha256/{n}/{v.hex()}" for n, v in boot.registers(EVENTS).items()]
    assert boot.value_of("agent-1.0", 12, TRUST) in keys
    covered = {part for value in values for part in _content(value)["components"]}
    assert covered == {"firmware", "kernel", "cmdline", "rootfs", "agent"}
    assert [_content(v)["trust_config"] for v in values].count("image") == 1


def _content(value: dict[str, object]) -> dict[str, list[str]]:
    content = value["value"]
    assert isinstance(content, dict)
    return content


def test_the_command_prints_a_document_to_import(tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_bytes(TRUST)
    arguments = ["tpm", "reference", "agent-1.0", "--trust", str(tmp_path / "trust.json")]
    for name, options in (("agent-1.0", ()), ("fleet", ("--name", "fleet"))):
        result = CliRunner().invoke(main, [*arguments, *options])
        document = json.loads(result.stdout)  # noqa: TID251 - our own command's output
        assert document["name"] == name
        assert document["values"] == boot.reference_values("agent-1.0", TRUST)
        reference_documents.read(result.stdout_bytes)
