"""A kept state has one encoding, and nothing else is read as one."""

from __future__ import annotations

import pytest

from sealward.verifier.formats.ima import state as states
from sealward.verifier.formats.ima.state import State
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.runtime_log import Kind, Measured
from sealward.verifier.wire import cbor
from sealward.verifier.wire.tcg_hash import HashAlg

SHA256: list[cbor.Encodable] = [int(HashAlg.SHA256), b"\x11" * 32]
SHA1: list[cbor.Encodable] = [int(HashAlg.SHA1), b"\x22" * 20]
AGGREGATE: list[cbor.Encodable] = ["boot_aggregate", "sha256", b"\xaa" * 32, "file", None]
AGENT: list[cbor.Encodable] = [
    "/usr/bin/agent",
    "sha256",
    b"\xbb" * 32,
    "file",
    b"\xcc" * 32,
]
WHOLE: list[cbor.Encodable] = [1, 7, 3, 20, 2, [SHA1, SHA256], AGGREGATE, [AGENT]]


def changed(at: int, value: cbor.Encodable) -> bytes:
    return cbor.encode([*WHOLE[:at], value, *WHOLE[at + 1 :]])


def test_a_state_is_what_was_encoded() -> None:
    state = State(
        reset_count=7,
        restart_count=3,
        entries=20,
        violations=2,
        registers=((HashAlg.SHA1, b"\x22" * 20), (HashAlg.SHA256, b"\x11" * 32)),
        aggregate=Measured("boot_aggregate", "sha256", "aa" * 32, Kind.FILE, None),
        measured=(Measured("/usr/bin/agent", "sha256", "bb" * 32, Kind.FILE, "cc" * 32),),
    )
    assert states.encode(state) == cbor.encode(WHOLE)
    assert states.parse(cbor.encode(WHOLE)) == state


@pytest.mark.parametrize(
    "data",
    [
        b"",
        cbor.encode({}),
        cbor.encode(WHOLE[:-1]),
        cbor.encode([*WHOLE, None]),
        changed(0, 2),
        changed(0, True),  # noqa: FBT003 - equals 1 in Python
        changed(1, -1),
        changed(2, None),
        changed(3, "20"),
        changed(5, [SHA256, SHA1]),
        changed(5, [SHA256, SHA256]),
        changed(5, [[int(HashAlg.SHA256), b"\x11" * 20]]),
        changed(5, [[0x10, b"\x11" * 32]]),
        changed(5, [[int(HashAlg.SHA256)]]),
        changed(6, []),
        changed(6, AGGREGATE[:-1]),
        changed(7, [AGENT, AGENT]),
        changed(7, [[*AGENT[:3], "link", None]]),
        changed(7, [[*AGENT[:4], "f3452d23"]]),
        changed(7, None),
    ],
)
def test_what_is_no_state_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        states.parse(data)


def test_a_state_beyond_its_budget_is_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "MAX_STATE_BYTES", len(cbor.encode(WHOLE)) - 1)
    with pytest.raises(MalformedEvidence):
        states.parse(cbor.encode(WHOLE))
