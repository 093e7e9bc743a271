"""CBOR of others: what real documents hold is read, each in one spelling, and nothing else is."""

from __future__ import annotations

import pytest

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor, foreign_cbor


def read(encoded: str) -> cbor.Value:
    return foreign_cbor.decode(bytes.fromhex(encoded), what="example", max_bytes=100)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0),
        ("1818", 24),
        ("1bffffffffffffffff", 2**64 - 1),
        ("38ff", -256),
        ("3bffffffffffffffff", -(2**64)),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("40", b""),
        ("62c3a9", "\u00e9"),
        ("80", []),
        ("9fff", []),
        ("9f0102ff", [1, 2]),
        ("a0", {}),
        ("bfff", {}),
        ("bf0102ff", {1: 2}),
        ("a202010100", {2: 1, 1: 0}),  # in any order
        ("a2616201616100", {"b": 1, "a": 0}),
        ("9f9f01ffbf0181f6ffff", [[1], {1: [None]}]),
        ("a2010061319f01ff", {1: 0, "1": [1]}),  # 1 and "1" are two keys
    ],
)
def test_values_in_definite_and_indefinite_containers_are_read(
    encoded: str, value: cbor.Value
) -> None:
    assert read(encoded) == value


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("", "need 1 byte"),
        ("0000", "trailing"),
        ("9fffff", "trailing"),
        ("1800", "shortest"),
        ("1817", "shortest"),
        ("1900ff", "shortest"),
        ("1a0000ffff", "shortest"),
        ("1b00000000ffffffff", "shortest"),
        ("580161", "shortest"),
        ("980100", "shortest"),
        ("b8010000", "shortest"),
        ("1c", "reserved"),
        ("1f", "reserved"),
        ("3f", "reserved"),
        ("5f4101ff", "chunked"),
        ("7f6161ff", "chunked"),
        ("9c", "reserved"),
        ("bd", "reserved"),
        ("c001", "tag"),
        ("d21840", "tag"),
        ("81c001", "tag"),
        ("a1c00101", "tag"),
        ("f7", "simple"),
        ("f0", "simple"),
        ("f820", "simple"),
        ("f93c00", "simple"),
        ("fb3ff0000000000000", "simple"),
        ("ff", "simple"),
        ("81ff", "simple"),
        ("a1ff", "simple"),
        ("a101ff", "simple"),
        ("bf01ff", "simple"),  # a key without its value
        ("9f01", "need 1 byte"),
        ("bf0102", "need 1 byte"),
        ("8201", "need 1 byte"),
        ("9bffffffffffffffff00", "need 1 byte"),
        ("4201", "need 2 bytes"),
        ("5bffffffffffffffff", "need 18446744073709551615 bytes"),
        ("61ff", "UTF-8"),
        ("63eda080", "UTF-8"),
        ("a201020103", "repeated"),
        ("bf01020103ff", "repeated"),
        ("a2616101616102", "repeated"),
        ("a1f401", "map key"),
        ("a1f601", "map key"),
        ("a1410001", "map key"),
        ("a18001", "nested too deeply"),
        ("a1a001", "nested too deeply"),
    ],
)
def test_everything_else_is_refused_with_its_reason(encoded: str, why: str) -> None:
    with pytest.raises(MalformedEvidence, match=why):
        read(encoded)


def test_depth_and_size_have_budgets() -> None:
    for opened in (b"\x81", b"\x9f"):
        nested = opened * 3 + b"\x00" + (b"\xff" * 3 if opened == b"\x9f" else b"")
        assert foreign_cbor.decode(nested, what="x", max_bytes=9, max_depth=3) == [[[0]]]
        with pytest.raises(MalformedEvidence, match="too deeply"):
            foreign_cbor.decode(nested, what="x", max_bytes=9, max_depth=2)
        with pytest.raises(MalformedEvidence, match="at most 3"):
            foreign_cbor.decode(nested, what="x", max_bytes=3)
        with pytest.raises(MalformedEvidence, match="too deeply"):
            foreign_cbor.decode(opened * 100_000, what="x", max_bytes=100_000)


@pytest.mark.parametrize(
    ("encoded", "tag", "rest"),
    [
        ("d284", 18, "84"),
        ("d9018fa0", 399, "a0"),
        ("d9038ba0", 907, "a0"),
        ("c000", 0, "00"),
        ("84", None, "84"),
        ("", None, ""),
        ("d2", 18, ""),
        ("d2d200", 18, "d200"),  # one tag only: `decode` refuses the second
    ],
)
def test_a_tag_before_the_value_is_split_off(encoded: str, tag: int | None, rest: str) -> None:
    data = bytes.fromhex(encoded)
    assert foreign_cbor.split_tag(data, what="x", max_bytes=9) == (tag, bytes.fromhex(rest))


@pytest.mark.parametrize("encoded", ["d811", "d90012", "d9", "dc", "df"])
def test_a_tag_has_one_head(encoded: str) -> None:
    with pytest.raises(MalformedEvidence):
        foreign_cbor.split_tag(bytes.fromhex(encoded), what="x", max_bytes=9)


def test_what_is_too_long_is_not_looked_at_for_a_tag() -> None:
    with pytest.raises(MalformedEvidence, match="at most 3"):
        foreign_cbor.split_tag(bytes(4), what="x", max_bytes=3)
