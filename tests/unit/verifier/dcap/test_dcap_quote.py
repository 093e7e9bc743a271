"""Quotes, bytes to fields and back; the layouts stand where the specification says."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from fakes import dcap_fixtures, dcap_vectors
from sealward_devkit.dcap.quote import Patch, Shape

from sealward.verifier.formats.dcap import enclave_report, evidence, quote, td_report
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor

TDX = dcap_fixtures.mint_tdx().quote
TD_1_5 = dcap_fixtures.mint_tdx(shape=Shape.TDX_5_TD15).quote
SGX = dcap_fixtures.mint_sgx().quote
ALL = (TDX, TD_1_5, SGX, dcap_fixtures.mint_tdx(shape=Shape.TDX_5_TD10).quote)
BODY_4 = 48
BODY_5 = 54


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def refused(data: bytes, match: str) -> None:
    with pytest.raises(MalformedEvidence, match=match):
        quote.parse(data)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        (enclave_report.FIELDS, enclave_report.SIZE),
        (td_report.FIELDS_1_0, td_report.SIZE_1_0),
        (td_report.FIELDS_1_5, td_report.SIZE_1_5),
    ],
)
def test_every_field_stands_at_its_offset(
    fields: tuple[tuple[str, str, int], ...], size: int
) -> None:
    at = 0
    for name, code, offset in fields:
        assert at == offset, name
        at += struct.calcsize("<" + code)
    assert at == size


@pytest.mark.parametrize("data", ALL)
def test_a_quote_is_its_fields(data: bytes) -> None:
    parsed = quote.parse(data)
    assert quote.encode(parsed) == data
    assert quote.encode_signed(parsed.header, parsed.body) == parsed.signed
    padded = data + bytes(100)
    assert quote.encode(quote.parse(padded)) == padded


def test_real_quotes_are_their_fields(vectors_dir: Path) -> None:
    for vector in dcap_vectors.load(vectors_dir):
        parsed = quote.parse(vector.quote)
        assert quote.encode(parsed) == vector.quote
        assert quote.encode_signed(parsed.header, parsed.body) == parsed.signed


@pytest.mark.parametrize("data", ALL)
def test_a_quote_cut_anywhere_is_refused(data: bytes) -> None:
    for size in range(0, len(data), 7):
        with pytest.raises(MalformedEvidence):
            quote.parse(data[:size])


@pytest.mark.parametrize(
    ("at", "value", "match"),
    [
        (0, b"\x02\x00", "quote version 2"),
        (0, b"\x06\x00", "quote version 6"),
        (2, b"\x03\x00", "attestation key type 3"),
        (4, b"\x01\x00\x00\x00", "TEE type 0x1"),
        (12, b"\x00", "QE vendor"),
    ],
)
def test_a_header_of_another_kind_is_refused(at: int, value: bytes, match: str) -> None:
    refused(patched(TDX, at, value), match)


def test_version_3_has_no_tee_type() -> None:
    refused(patched(SGX, 4, b"\x81"), "reserved bytes of a version 3 header")


@pytest.mark.parametrize(
    "descriptor",
    [
        struct.pack("<HI", 2, 648),
        struct.pack("<HI", 3, 584),
        struct.pack("<HI", 1, 384),
        struct.pack("<HI", 4, 648),
        struct.pack("<HI", 3, 649),
    ],
)
def test_a_body_is_of_the_type_size_and_tee_that_are_written(descriptor: bytes) -> None:
    refused(patched(TD_1_5, 48, descriptor), "body type")


@pytest.mark.parametrize(
    "bit", [1, 2, 3, 7, 8, 15, 17, 26, 32, 47, 61], ids=lambda bit: f"bit{bit}"
)
def test_attributes_that_no_specification_names_are_refused(bit: int) -> None:
    at = BODY_4 + 120
    refused(patched(TDX, at, (1 << bit).to_bytes(8, "little")), "unknown bits")


@pytest.mark.parametrize("bit", [0, 4, 5, 6])
def test_every_attribute_of_the_debug_group_is_debug(bit: int) -> None:
    at = BODY_4 + 120
    body = quote.parse(patched(TDX, at, (1 << bit).to_bytes(8, "little"))).body
    assert body.debug


def test_a_bound_service_td_makes_a_td_migratable() -> None:
    body = quote.parse(TD_1_5).body
    assert isinstance(body, td_report.TdReport)
    assert not body.migratable
    bound = quote.parse(patched(TD_1_5, BODY_5 + 600, b"\x01")).body
    assert isinstance(bound, td_report.TdReport)
    assert bound.migratable
    flag = quote.parse(patched(TDX, BODY_4 + 120, (1 << 29).to_bytes(8, "little"))).body
    assert isinstance(flag, td_report.TdReport)
    assert flag.migratable


@pytest.mark.parametrize("at", [20, 31, 96, 127, 160, 191, 262, 303])
def test_reserved_bytes_of_an_enclave_report_are_zero(at: int) -> None:
    refused(patched(SGX, 48 + at, b"\x01"), "SGX report: reserved bytes")


def test_what_stands_behind_a_quote_is_zeros() -> None:
    assert quote.parse(TDX + bytes(70)).padding == 70
    refused(TDX + bytes(69) + b"\x01", "padding behind the quote")
    refused(TDX + b"\x01", "padding behind the quote")


def test_the_signature_data_is_filled_by_what_is_in_it() -> None:
    parsed = quote.parse(TDX)
    at = len(parsed.signed)
    size = int.from_bytes(TDX[at : at + 4], "little")
    longer = TDX[:at] + (size + 1).to_bytes(4, "little") + TDX[at + 4 :] + b"\0"
    refused(longer, "does not fill")
    refused(patched(TDX, at, (size - 1).to_bytes(4, "little")), "does not fill")
    sgx_at = len(quote.parse(SGX).signed)
    size = int.from_bytes(SGX[sgx_at : sgx_at + 4], "little")
    longer = SGX[:sgx_at] + (size + 1).to_bytes(4, "little") + SGX[sgx_at + 4 :] + b"\0"
    refused(longer, "trailing bytes")


def test_only_a_pck_chain_certifies() -> None:
    parsed = quote.parse(TDX)
    outer = len(parsed.signed) + 4 + 64 + 64
    refused(patched(TDX, outer, b"\x05\x00"), "certification data of type 5")
    inner = TDX.index(parsed.certification.pck_chain) - 6
    refused(patched(TDX, inner, b"\x03\x00"), "PCK certification data of type 3")


def test_a_quote_beyond_its_budget_is_not_read() -> None:
    refused(TDX + bytes(quote.MAX_QUOTE_BYTES), "at most")


def test_a_quote_is_known_by_its_header() -> None:
    assert all(quote.looks_like(data) for data in ALL)
    assert not quote.looks_like(TDX[:40])
    assert not quote.looks_like(patched(TDX, 12, b"\x00"))


def test_payloads_are_read_back_and_no_other_is_read() -> None:
    with_log, without = evidence.Evidence(TDX, b"log"), evidence.Evidence(TDX)
    for found in (with_log, without):
        assert evidence.parse_tdx(evidence.encode_tdx(found)) == found
    assert evidence.parse_sgx(evidence.encode_sgx(without)) == without
    for payload in (
        {1: TDX},
        {1: TDX, 2: None, 3: b""},
        {1: b"", 2: None},
        {1: "x", 2: None},
        {1: TDX, 2: b""},
        {1: TDX, 2: 7},
        {1: bytes(quote.MAX_QUOTE_BYTES + 1), 2: None},
        {1: TDX, 2: bytes(evidence.MAX_LOG_BYTES + 1)},
    ):
        with pytest.raises(MalformedEvidence):
            evidence.parse_tdx(cbor.encode(payload))
    for wrong in ({1: TDX, 2: None}, {2: TDX}, [TDX]):
        with pytest.raises(MalformedEvidence):
            evidence.parse_sgx(cbor.encode(wrong))


def test_a_patch_of_the_minter_lands_where_the_reader_looks() -> None:
    data = dcap_fixtures.mint_tdx(None, Patch(BODY_4 + 184, b"\xc0" * 48)).quote
    body = quote.parse(data).body
    assert isinstance(body, td_report.TdReport)
    assert body.mr_config_id == b"\xc0" * 48
