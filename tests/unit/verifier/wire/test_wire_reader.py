"""The cursor never reads past its end and says where it stopped."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from sealward.verifier.rats.errors import Code, MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget


def test_what_is_read_is_what_was_there() -> None:
    reader = Reader(b"\x01\x02\x03\x04\x05\x06\x07\x00\x00\x09")
    assert reader.peek() == 1
    assert reader.u8("a") == 1
    assert reader.le(2, "b") == 0x0302
    assert reader.be(2, "c") == 0x0405
    assert reader.unpack(struct.Struct("<H"), "d") == (0x0706,)
    reader.must_be_zero(2, "e")
    assert (reader.offset, reader.remaining) == (9, 1)
    assert reader.since(7) == b"\x00\x00"
    reader.seek(9, "f")
    assert reader.take(1, "g") == b"\x09"
    assert reader.peek() is None
    reader.finish()


@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.take(3, "field"),
        lambda reader: reader.take(-1, "field"),
        lambda reader: reader.le(3, "field"),
        lambda reader: reader.be(3, "field"),
        lambda reader: reader.unpack(struct.Struct("<I"), "field"),
        lambda reader: reader.must_be_zero(3, "field"),
        lambda reader: reader.seek(3, "field"),
        lambda reader: reader.seek(-1, "field"),
        lambda reader: (reader.take(2, "x"), reader.u8("field")),
        lambda reader: reader.must_be_zero(2, "field"),
    ],
    ids=["take", "less", "le", "be", "unpack", "zero", "beyond", "before", "u8", "not zero"],
)
def test_a_short_or_wrong_field_is_named(read: Callable[[Reader], object]) -> None:
    with pytest.raises(MalformedEvidence, match="field") as caught:
        read(Reader(b"\x00\x01"))
    assert caught.value.code is Code.MALFORMED


def test_offsets_in_errors_count_from_the_outer_buffer() -> None:
    reader = Reader(b"\x00\x01", base=100)
    reader.u8("a")
    with pytest.raises(MalformedEvidence) as caught:
        reader.finish()
    assert (caught.value.offset, caught.value.what) == (101, "1 trailing bytes")
    assert str(caught.value) == "1 trailing bytes (at byte 101)"


def test_a_budget_holds_to_the_byte() -> None:
    check_budget(b"abc", 3, "thing")
    with pytest.raises(MalformedEvidence, match="thing: 4 bytes, at most 3"):
        check_budget(b"abcd", 3, "thing")
