"""Deterministic CBOR: one encoding per value, and nothing else is read."""

from __future__ import annotations

from typing import Any

import pytest

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor

# RFC 8949 appendix A, the rows inside our subset.
EXAMPLES: list[tuple[Any, str]] = [
    (0, "00"),
    (23, "17"),
    (24, "1818"),
    (100, "1864"),
    (1000, "1903e8"),
    (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (-1, "20"),
    (-100, "3863"),
    (-1000, "3903e7"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (b"", "40"),
    (bytes.fromhex("01020304"), "4401020304"),
    ("", "60"),
    ("IETF", "6449455446"),
    ('"\\', "62225c"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ("\U00010151", "64f0908591"),
    ([], "80"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    # RFC 8949 4.2.1: keys in the bytewise order of their encodings.
    ({10: 0, 100: 0, -1: 0, "z": 0, "aa": 0, b"k": 0}, "a60a001864002000416b00617a0062616100"),
]


@pytest.mark.parametrize(("value", "encoded"), EXAMPLES)
def test_the_examples_of_the_rfc_are_read_and_written(value: object, encoded: str) -> None:
    assert cbor.encode(value).hex() == encoded  # type: ignore[arg-type]  # typed at run time
    assert cbor.decode(bytes.fromhex(encoded), what="example", max_bytes=100) == value


def test_a_tuple_is_written_as_an_array() -> None:
    assert cbor.encode((1, (2,))) == cbor.encode([1, [2]])


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("", "need 1 byte"),
        ("0000", "trailing"),
        ("1800", "shortest"),
        ("1817", "shortest"),
        ("1900ff", "shortest"),
        ("1a0000ffff", "shortest"),
        ("1b00000000ffffffff", "shortest"),
        ("1c", "reserved"),
        ("1f", "reserved"),
        ("5f4101ff", "indefinite"),
        ("7f6161ff", "indefinite"),
        ("9f01ff", "indefinite"),
        ("bf0101ff", "indefinite"),
        ("c001", "tags"),
        ("d84001", "tags"),
        ("f7", "floats and other simple"),
        ("f820", "floats and other simple"),
        ("f93c00", "floats and other simple"),
        ("fb3ff0000000000000", "floats and other simple"),
        ("ff", "floats and other simple"),
        ("4201", "need 2 bytes"),
        ("61ff", "UTF-8"),
        ("63eda080", "UTF-8"),  # a surrogate
        ("8201", "need 1 byte"),
        ("9bffffffffffffffff00", "need 1 byte"),
        ("a20102", "need 1 byte"),
        ("a201020103", "repeated or not sorted"),
        ("a202010102", "repeated or not sorted"),
        ("a2616101616101", "repeated or not sorted"),
        ("a1f401", "map key"),
        ("a1f601", "map key"),
        ("a18001", "container as key"),
        ("5bffffffffffffffff", "need 18446744073709551615 bytes"),
    ],
)
def test_everything_else_is_refused_with_its_reason(encoded: str, why: str) -> None:
    with pytest.raises(MalformedEvidence, match=why):
        cbor.decode(bytes.fromhex(encoded), what="example", max_bytes=100)


def test_depth_and_size_have_budgets() -> None:
    nested = b"\x81" * 3 + b"\x00"
    assert cbor.decode(nested, what="x", max_bytes=4, max_depth=3) == [[[0]]]
    with pytest.raises(MalformedEvidence, match="too deeply"):
        cbor.decode(nested, what="x", max_bytes=4, max_depth=2)
    with pytest.raises(MalformedEvidence, match="at most 3"):
        cbor.decode(nested, what="x", max_bytes=3)
    with pytest.raises(MalformedEvidence, match="too deeply"):
        cbor.decode(b"\x81" * 100_000, what="x", max_bytes=100_000)


@pytest.mark.parametrize("value", [1.5, {1.5: 0}, {True: 0}, {None: 0}, {1, 2}, [object()]])
def test_types_outside_the_subset_are_our_own_mistake(value: object) -> None:
    with pytest.raises(TypeError):
        cbor.encode(value)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("value", [1 << 64, -(1 << 64) - 1, "\ud800"])
def test_values_without_an_encoding_are_our_own_mistake(value: int | str) -> None:
    with pytest.raises(ValueError, match=r"64 bits|surrogates"):
        cbor.encode(value)
