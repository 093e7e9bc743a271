"""What a log says: which facts are authenticated, which only described, and the budgets on both."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner
from fakes import software_tpm, tpm_vectors
from unit.verifier.composite.test_tpm_node import TPM, event, evidence_of, log_of

from sealward.controlplane.cli.terminal import printable
from sealward.controlplane.cli.verify import verify as verify_command
from sealward.verifier.formats.event_log import dstack, facts, runtime
from sealward.verifier.formats.event_log import log as logs
from sealward.verifier.formats.event_log.facts import MAX_ALL_TEXT, MAX_FACTS, MAX_TEXT, Fact
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.evidence import TPM_EVIDENCE, Record, encode
from sealward.verifier.wire.tcg_hash import HashAlg

IPL, TAG, APPLICATION, SEPARATOR = 0xD, 6, 0x80000003, 4
RUNTIME = 4  # RTMR3


def told(*events: bytes, repeated: tuple[int, ...] = ()) -> list[tuple[str, str, str]]:
    found = facts.extract(logs.parse(log_of(*events)), HashAlg.SHA256, repeated)
    return [(fact.name, fact.value, fact.standing.value) for fact in found]


def line(text: bytes, *, digest: bytes | None = None) -> bytes:
    exact = hashlib.sha256(text).digest() if digest is None else digest
    return event(8, IPL, b"kernel_cmdline: " + text + b"\0", digest=exact)


def aael(text: bytes) -> bytes:
    return event(RUNTIME, TAG, b"LEAA" + len(text).to_bytes(4, "little") + text)


def test_a_command_line_is_authenticated_where_the_digest_is_its_own() -> None:
    assert told(line(b"/vmlinuz ro")) == [("kernel_command_line", "/vmlinuz ro", "extended")]
    assert told(line(b"/vmlinuz ro", digest=bytes(32)))[0][2] == "described"
    assert told(line(b"/vmlinuz ro"), repeated=(8,))[0][2] == "described"


def test_the_kernel_is_the_file_whose_path_the_command_line_begins_with() -> None:
    files = [event(9, IPL, name + b"\0", digest=bytes((at,)) * 32) for at, name in FILES]
    assert told(*files, line(b"/vmlinuz ro")) == [
        ("kernel", "02" * 32, "described"),
        ("kernel_command_line", "/vmlinuz ro", "extended"),
    ]


FILES = ((1, b"/grub.cfg"), (2, b"/vmlinuz"), (3, b"/initrd"))


def test_text_of_an_attacker_stays_as_it_is_and_is_escaped_where_it_is_shown() -> None:
    hostile = "/vmlinuz \x1b]0;pwned\x07 \u202eoi\r\nfake: line"
    ((_, value, standing),) = told(line(hostile.encode()))
    assert (value, standing) == (hostile, "extended")
    shown = printable(value)
    assert not set("\x1b\x07\r\n\u202e") & set(shown)
    assert shown.startswith("/vmlinuz \\u{1b}]0;pwned\\u{7}")
    # What is not UTF-8 is shown in another spelling, which another line could have too.
    assert told(line(b"/vmlinuz \xff")) == [("kernel_command_line", "/vmlinuz \\xff", "described")]


VARIABLE, ACTION = 0x80000001, 5
ZEROS = bytes(4)


def secure_boot(register: int, state: int, kind: int = VARIABLE) -> bytes:
    vendor = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
    name = "SecureBoot".encode("utf-16-le")
    data = vendor + struct.pack("<QQ", len(name) // 2, 1) + name + bytes((state,))
    return event(register, kind, data)


def capped(register: int) -> bytes:
    return event(register, SEPARATOR, ZEROS)


@pytest.mark.parametrize("register", [1, 7])
def test_a_variable_is_authenticated_before_the_separator_that_firmware_caps_it_with(
    register: int,
) -> None:
    assert told(secure_boot(register, 0), capped(register)) == [
        ("secure_boot", "disabled", "authenticated")
    ]


FORGED = {
    "no separator": (secure_boot(7, 1),),
    "after it": (capped(7), secure_boot(7, 1)),
    # An event's type is extended nowhere: root of the machine writes the log, and calls the true
    # variable and the separator something else before extending a variable of its own.
    "after one by another name": (
        secure_boot(7, 0, ACTION),
        event(7, ACTION, b"no separator", digest=hashlib.sha256(ZEROS).digest()),
        secure_boot(7, 1),
    ),
    "and one more": (
        event(7, ACTION, b"no separator", digest=hashlib.sha256(ZEROS).digest()),
        secure_boot(7, 1),
        capped(7),
    ),
    "a separator that nobody extended": (
        secure_boot(7, 1),
        event(7, 3, ZEROS),
    ),
    "PCR 14, which software extends": (secure_boot(14, 1), capped(14)),
    "RTMR3, which software extends": (secure_boot(4, 1), capped(4)),
    "a separator of another register": (secure_boot(7, 1), capped(1)),
}


@pytest.mark.parametrize("events", FORGED.values(), ids=FORGED)
def test_a_variable_that_software_could_have_extended_only_describes(
    events: tuple[bytes, ...],
) -> None:
    assert told(*events) == [("secure_boot", "enabled", "described")]


def test_runtime_events_come_in_their_order_with_their_standing() -> None:
    wrong = bytearray(aael(b"coco.com op two"))
    wrong[14] ^= 1  # the digest
    assert told(aael(b"coco.com op one"), bytes(wrong), aael(b"\xff")) == [
        ("runtime_event", "coco.com op one", "extended"),
        ("runtime_event", "coco.com op two", "described"),
        ("runtime_event", "\\xff", "described"),
    ]


@pytest.mark.parametrize("data", [b"LEAA", b"LEAA\x05\0\0\0four", b"LEAA\x03\0\0\0four", b"EAA"])
def test_a_tag_of_another_kind_is_no_runtime_event(data: bytes) -> None:
    assert told(event(RUNTIME, TAG, data)) == []


def test_a_log_that_tells_more_than_the_budgets_is_refused_and_never_cut() -> None:
    application = event(4, APPLICATION, b"")
    assert len(told(*[application] * MAX_FACTS)) == MAX_FACTS
    longest = b"x" * MAX_TEXT
    assert told(line(longest))[0][1] == longest.decode()
    many = MAX_ALL_TEXT // MAX_TEXT
    assert len(told(*[line(longest)] * many)) == many
    for events in (
        [application] * (MAX_FACTS + 1),
        [line(longest + b"x")],
        [aael(longest + b"x")],
        [line(longest)] * many + [line(b"x")],
    ):
        with pytest.raises(RefusedEvidence) as caught:
            told(*events)
        assert caught.value.code is Code.EVENT_LOG_INVALID


def test_the_runtime_events_of_a_real_guest(vectors_dir: Path) -> None:
    vector = tpm_vectors.load(vectors_dir, "ccel-eventlog")["ccel-ccel_aael_alibabacloud"]
    found = facts.extract(logs.parse(vector.read("event_log")), HashAlg.SHA384, ())
    said = [fact for fact in found if fact.name == "runtime_event"]
    assert said == [
        Fact("runtime_event", value, RUNTIME, facts.Standing.EXTENDED)
        for value in (
            "coco.com some-operation some-content",
            'coco.com some-operation {"key": "value", "nested-key": {"sub-key": "value"}}',
        )
    ]


# The JSON log of dstack


def entry(**changes: object) -> str:
    members = {"imr": 3, "event_type": 0x08000001, "digest": "", "event": "app-id"}
    return json.dumps({**members, "event_payload": "0102", **changes})


def test_a_runtime_event_of_dstack_is_the_hash_of_its_name_and_payload() -> None:
    log = dstack.parse(f"[{entry()}]".encode())
    (one,) = log.events
    said = b"\x01\x00\x00\x08:app-id:\x01\x02"
    assert one.data == runtime.preimage("app-id", b"\x01\x02") == said
    assert one.digest(HashAlg.SHA384) == hashlib.sha384(said).digest()
    (fact,) = facts.extract(log, HashAlg.SHA384, ())
    assert (fact.value, fact.register, fact.standing) == ("app-id 0102", 4, "extended")


def test_a_digest_that_is_not_that_of_the_event_only_describes() -> None:
    log = dstack.parse(f"[{entry(digest='11' * 48)}]".encode())
    (fact,) = facts.extract(log, HashAlg.SHA384, ())
    assert fact.standing == "described"


def test_a_name_with_a_colon_reads_as_what_is_hashed_reads() -> None:
    one = dstack.parse(f"[{entry(event='a:b', event_payload='63')}]".encode())
    other = dstack.parse(f"[{entry(event='a', event_payload='623a63')}]".encode())
    assert one.events == other.events
    (fact,) = facts.extract(one, HashAlg.SHA384, ())
    assert fact.value == "a 623a63"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        "[{}]",
        f"[{entry()},]",
        f"[{entry(imr=4)}]",
        f"[{entry(imr=-1)}]",
        f"[{entry(imr=True)}]",
        f"[{entry(event_type=1 << 32)}]",
        f"[{entry(event=1)}]",
        f"[{entry(event_payload='0')}]",
        f"[{entry(event_payload='AA')}]",
        f"[{entry(digest='00')}]",
        f"[{entry(event_type=4)}]",
        f"[{entry(more=1)}]",
        "[" + ",".join([entry()] * 4097) + "]",
    ],
)
def test_another_shape_of_a_dstack_log_is_malformed(text: str) -> None:
    with pytest.raises(MalformedEvidence):
        dstack.parse(text.encode())


# Where facts are shown


HOSTILE = "/vmlinuz \x1b]0;pwned\x07\u202e\r\nverified: nothing"


def hostile_evidence() -> bytes:
    """A TPM's evidence whose log tells the hostile command line, confirmed by its quote."""
    text = HOSTILE.encode()
    extended = hashlib.sha256(bytes(32) + hashlib.sha256(text).digest()).digest()
    tpm = replace(TPM, banks={"sha256": {8: extended}})
    found = replace(evidence_of(tpm), event_log=log_of(line(text)), ek_certificate=None)
    return encode(Record(TPM_EVIDENCE, tpm_evidence.encode(found)))


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_no_character_of_a_log_acts_on_the_terminal_that_shows_it(
    tmp_path: Path, flags: list[str]
) -> None:
    file = tmp_path / "evidence.cmw"
    file.write_bytes(hostile_evidence())
    at = software_tpm.NOW.isoformat()
    answer = CliRunner().invoke(verify_command, [*flags, "--at", at, str(file)])
    assert answer.exit_code == 0, answer.output
    assert "pwned" in answer.output
    assert not set("\x1b\x07\r\u202e") & set(answer.output)
    assert "\nverified: nothing" not in answer.output
    if flags:
        facts_shown = json.loads(answer.output)["claims"]["boot"]["facts"]  # noqa: TID251 - our own output
        assert [fact["value"] for fact in facts_shown] == [HOSTILE]
