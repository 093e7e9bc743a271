"""Strict DER: each rule of X.690 that we rely on, broken alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import der
from sealward.verifier.wire.der import DerReader


def reader(encoded: str) -> DerReader:
    return der.read(bytes.fromhex(encoded), what="thing", max_bytes=1000)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("020100", 0),
        ("02017f", 127),
        ("02020080", 128),
        ("0201ff", -1),
        ("020180", -128),
        ("0202ff7f", -129),
        ("020900ffffffffffffffff", 2**64 - 1),
    ],
)
def test_integers(encoded: str, value: int) -> None:
    assert reader(encoded).integer("thing", max_bytes=9) == value


@pytest.mark.parametrize(
    ("encoded", "oid"),
    [
        ("06092a864886f70d01010a", "1.2.840.113549.1.1.10"),
        ("0603550403", "2.5.4.3"),
        ("060a2b060104019c78010304", "1.3.6.1.4.1.3704.1.3.4"),
        ("06028837", "2.999"),
        ("060127", "0.39"),
        ("060128", "1.0"),
    ],
)
def test_object_identifiers(encoded: str, oid: str) -> None:
    assert reader(encoded).oid("thing") == oid


@pytest.mark.parametrize(
    ("encoded", "instant"),
    [
        ("170d3439313233313233353935395a", datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("170d3530303130313030303030305a", datetime(1950, 1, 1, tzinfo=UTC)),
        ("180f39393939313233313233353935395a", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_times(encoded: str, instant: datetime) -> None:
    assert reader(encoded).time("thing") == instant


def test_flags_are_numbered_from_the_first_bit() -> None:
    assert reader("03020204").named_bits("thing") == {5}
    assert reader("03020004").named_bits("thing") == {5}  # AMD keeps the trailing zeros
    assert reader("0303070080").named_bits("thing") == {8}


def test_a_boolean_is_one_of_two_octets() -> None:
    assert reader("0101ff").boolean("thing") is True
    assert reader("010100").boolean("thing") is False


def test_elements_keep_their_bytes_and_place() -> None:
    outer = reader("3006020105020106")
    inner = outer.enter("thing")
    outer.finish()
    first, second = inner.element("a"), inner.element("b", der.INTEGER)
    assert (first.der.hex(), first.offset, first.inside) == ("020105", 2, 4)
    assert (second.content.hex(), second.offset, second.inside) == ("06", 5, 7)
    assert inner.empty
    assert not inner.next_is(der.INTEGER)
    inner.finish()


def test_long_lengths_are_read_in_their_only_form() -> None:
    data = bytes.fromhex("048180") + bytes(128)
    assert der.read(data, what="x", max_bytes=200).element("x").content == bytes(128)
    data = bytes.fromhex("04820100") + bytes(256)
    assert der.read(data, what="x", max_bytes=300).element("x").content == bytes(256)


Read = Callable[[DerReader], object]
REFUSALS: list[tuple[str, Read, str]] = [
    ("", lambda r: r.element("thing"), "need 1 byte"),
    ("02", lambda r: r.element("thing"), "need 1 byte"),
    ("0202ff", lambda r: r.element("thing"), "need 2 bytes"),
    ("1f0100", lambda r: r.element("thing"), "multi-byte"),
    ("bf8a3900", lambda r: r.element("thing"), "multi-byte"),
    ("308000", lambda r: r.element("thing"), "indefinite"),
    ("3085000000000100", lambda r: r.element("thing"), "oversized"),
    ("04810100", lambda r: r.element("thing"), "length is not minimal"),
    ("0482007f" + "00" * 127, lambda r: r.element("thing"), "length is not minimal"),
    ("048200ff" + "00" * 255, lambda r: r.element("thing"), "length is not minimal"),
    ("0500", lambda r: r.element("thing", der.INTEGER), "tag 0x05, expected 0x02"),
    ("0200", lambda r: r.integer("thing", max_bytes=2), "INTEGER of 0 bytes"),
    ("0203010000", lambda r: r.integer("thing", max_bytes=2), "INTEGER of 3 bytes"),
    ("0202007f", lambda r: r.integer("thing", max_bytes=2), "INTEGER is not minimal"),
    ("0202ffff", lambda r: r.integer("thing", max_bytes=2), "INTEGER is not minimal"),
    ("010101", lambda r: r.boolean("thing"), "neither 00 nor FF"),
    ("0100", lambda r: r.boolean("thing"), "neither 00 nor FF"),
    ("0600", lambda r: r.oid("thing"), "cut short"),
    ("060188", lambda r: r.oid("thing"), "cut short"),
    ("06028001", lambda r: r.oid("thing"), "not minimal"),
    ("0603558001", lambda r: r.oid("thing"), "not minimal"),
    ("0300", lambda r: r.bits("thing"), "whole bytes"),
    ("030204f0", lambda r: r.bits("thing"), "whole bytes"),
    ("0300", lambda r: r.named_bits("thing"), "flags"),
    ("030100", lambda r: r.named_bits("thing"), "flags"),
    ("03020304", lambda r: r.named_bits("thing"), "flags"),
    ("03020800", lambda r: r.named_bits("thing"), "flags"),
    ("160180", lambda r: r.ia5("thing"), "not ASCII"),
    ("0c0141", lambda r: r.ia5("thing"), "expected 0x16"),
    ("170b343931323331323335395a", lambda r: r.time("thing"), "not a time"),
    ("180d3439313233313233353935395a", lambda r: r.time("thing"), "not a time"),
    ("040d3439313233313233353935395a", lambda r: r.time("thing"), "not a time"),
    ("170d7878313233313233353935395a", lambda r: r.time("thing"), "not a time"),
    ("170d3439313233313233353935395b", lambda r: r.time("thing"), "Zulu"),
    ("170d3439313233313233783539355a", lambda r: r.time("thing"), "Zulu"),
    ("170d3439313333313233353935395a", lambda r: r.time("thing"), "no such date"),
    ("180f30303030303130313030303030305a", lambda r: r.time("thing"), "no such date"),
    ("050000", lambda r: (r.element("x"), r.finish()), "trailing"),
]


@pytest.mark.parametrize(
    ("encoded", "read", "why"),
    REFUSALS,
    ids=[f"{number} {why}" for number, (_, _, why) in enumerate(REFUSALS)],
)
def test_each_rule_is_kept(encoded: str, read: Read, why: str) -> None:
    with pytest.raises(MalformedEvidence, match=why):
        read(reader(encoded))


def test_nesting_has_a_budget() -> None:
    nested = b""
    for _ in range(der.MAX_DEPTH + 1):
        nested = bytes((der.SEQUENCE, len(nested))) + nested
    inside = der.read(nested, what="x", max_bytes=100)
    for _ in range(der.MAX_DEPTH):
        inside = inside.enter("x")
    with pytest.raises(MalformedEvidence, match="too deeply"):
        inside.enter("x")


def test_size_has_a_budget() -> None:
    with pytest.raises(MalformedEvidence, match="at most 3"):
        der.read(bytes(4), what="x", max_bytes=3)
