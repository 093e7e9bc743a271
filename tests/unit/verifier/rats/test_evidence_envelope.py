"""The evidence envelope of docs/specs/evidence-envelope.md, rule by rule."""

from __future__ import annotations

import pytest

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.evidence import (
    MAX_ENTRIES,
    MAX_ENVELOPE_BYTES,
    MAX_LABEL,
    Collection,
    Envelope,
    Record,
    decode,
    encode,
)
from sealward.verifier.wire import cbor

RECORD = Record("application/cbor", b"\x01\x02\x03\x04")


def test_the_example_of_the_specification() -> None:
    encoded = bytes.fromhex("82706170706c69636174696f6e2f63626f724401020304")
    assert encode(RECORD) == encoded
    assert decode(encoded) == RECORD


def test_collections_nest_and_come_back_sorted_by_label() -> None:
    inner = Collection((("a", RECORD), ("bb", Record("a/b+c.d-1", b""))))
    outer = Collection((("cpu", inner), ("gpu-0", RECORD), ("z", RECORD)))
    assert decode(encode(outer)) == outer


@pytest.mark.parametrize(
    "value",
    [
        1,
        None,
        "application/cbor",
        [],
        ["application/cbor"],
        ["application/cbor", b"", 4],
        ["application/cbor", "text"],
        [30, b""],
        ["application", b""],
        ["Application/cbor", b""],
        ["application/cbor; v=1", b""],
        ["application/cbor ", b""],
        ["application/" + "a" * 128, b""],
        {},
        {1: ["a/b", b""]},
        {"A": ["a/b", b""]},
        {"__cmwc_t": ["a/b", b""]},
        {"": ["a/b", b""]},
        {"a" * (MAX_LABEL + 1): ["a/b", b""]},
        {"a": 1},
        {f"a{number}": ["a/b", b""] for number in range(MAX_ENTRIES + 1)},
        {"a": {"b": {"c": {"d": ["a/b", b""]}}}},
    ],
    ids=repr,
)
def test_anything_outside_the_specification_is_refused(value: cbor.Encodable) -> None:
    with pytest.raises(MalformedEvidence, match="evidence envelope"):
        decode(cbor.encode(value))


def test_the_size_has_a_budget() -> None:
    largest = MAX_ENVELOPE_BYTES - len(cbor.encode(["a/b", b""])) - 4
    assert decode(encode(Record("a/b", bytes(largest))))
    with pytest.raises(MalformedEvidence, match="at most"):
        decode(cbor.encode(["a/b", bytes(largest + 1)]))


@pytest.mark.parametrize(
    "envelope",
    [
        Record("Not/lower", b""),
        Collection(()),
        Collection((("b", RECORD), ("a", RECORD))),
        Collection((("a", RECORD), ("a", RECORD))),
    ],
    ids=repr,
)
def test_what_could_not_be_read_back_is_not_written(envelope: Envelope) -> None:
    with pytest.raises(ValueError, match=r"read back|sorted"):
        encode(envelope)
