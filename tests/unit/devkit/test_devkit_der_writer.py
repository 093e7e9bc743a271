"""The DER writer, against encodings worked out by hand from X.690 and RFC 5280."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sealward_devkit.pki import der_writer as der


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "020100"),
        (0x7F, "02017f"),
        (0x80, "02020080"),
        (0xDB, "020200db"),
        (0x100, "02020100"),
        (0x10001, "0203010001"),
    ],
)
def test_integers_are_minimal_and_never_negative(value: int, encoded: str) -> None:
    assert der.integer(value).hex() == encoded


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, "0400"),
        (127, "047f"),
        (128, "048180"),
        (255, "0481ff"),
        (256, "04820100"),
        (65536, "0483010000"),
    ],
)
def test_lengths_take_the_shortest_form(size: int, header: str) -> None:
    assert der.octet_string(bytes(size)).hex() == header + "00" * size


@pytest.mark.parametrize(
    ("dotted", "encoded"),
    [
        ("2.5.4.3", "0603550403"),
        ("1.2.840.113549.1.1.10", "06092a864886f70d01010a"),
        ("1.3.6.1.4.1.3704.1.3.8", "060a2b060104019c78010308"),
    ],
)
def test_object_identifiers_are_base_128(dotted: str, encoded: str) -> None:
    assert der.object_identifier(dotted).hex() == encoded


def test_dates_change_their_type_in_2050_as_rfc_5280_requires() -> None:
    assert der.time(datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)) == b"\x17\x0d491231235959Z"
    assert der.time(datetime(2050, 1, 1, tzinfo=UTC)) == b"\x18\x0f20500101000000Z"


def test_strings_and_wrappers_carry_their_tags() -> None:
    assert der.ia5_string("Turin") == b"\x16\x05Turin"
    assert der.utf8_string("CN") == b"\x0c\x02CN"
    assert der.bit_string(b"\x04", unused_bits=2) == b"\x03\x02\x02\x04"
    assert der.boolean(value=True) == b"\x01\x01\xff"
    assert der.explicit(3, der.null()) == b"\xa3\x02\x05\x00"
    assert der.set_of_one(der.null()) == b"\x31\x02\x05\x00"
