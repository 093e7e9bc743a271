"""The evidence payload, the certificate table, the chain cache and the report's own layout."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest
from fakes import snp_fixtures

from sealward.verifier.formats.snp import evidence, ghcb, product, report, tcb, verify
from sealward.verifier.formats.snp.endorsements import Endorsements, endorse
from sealward.verifier.formats.snp.product import Product
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.certificate import MAX_CERTIFICATE_BYTES
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import cbor

REPORT = bytes(report.REPORT_SIZE)


def test_the_layout_has_every_field_at_its_specified_offset() -> None:
    at = 0
    for _, code, offset in report.FIELDS:
        assert at == offset
        at += struct.calcsize("<" + code)
    assert at == report.REPORT_SIZE


@pytest.mark.parametrize("version", report.VERSIONS)
def test_a_report_is_written_as_it_was_read(version: int) -> None:
    data = snp_fixtures.mint(version=version).report
    assert report.encode(report.parse(data)) == data


@pytest.mark.parametrize("number", ["signature_r", "signature_s"])
@pytest.mark.parametrize("value", [0, verify.P384_ORDER, verify.P384_ORDER + 1, (1 << 576) - 1])
def test_a_signature_number_outside_the_group_never_reaches_the_library(
    number: str, value: int
) -> None:
    chip = snp_fixtures.platform()
    data = snp_fixtures.mint(chip).report
    whole = report.parse(data)
    damaged = (
        replace(whole, signature_r=value)
        if number == "signature_r"
        else replace(whole, signature_s=value)
    )
    with pytest.raises(RefusedEvidence, match="out of range") as caught:
        verify.check_signature(damaged, report.signed_region(data), chip.key.public_key())
    assert caught.value.code is Code.SIGNATURE_INVALID


def test_a_payload_comes_back() -> None:
    for whole in (
        evidence.Evidence(REPORT, (b"vek", b"ask", b"ark")),
        evidence.Evidence(REPORT, (), b""),
        evidence.Evidence(REPORT, (), bytes(ghcb.MAX_TABLE_BYTES)),
    ):
        assert evidence.parse(evidence.encode(whole)) == whole


OTHER_PAYLOADS: list[cbor.Encodable] = [
    [REPORT, [b"c"]],
    {1: REPORT},
    {1: REPORT, 2: [b"c"], 3: 0},
    {1: REPORT, 2: [b"c"], 3: b""},
    {1: REPORT, 3: [b"c"]},
    {1: REPORT, 3: None},
    {1: REPORT, 3: bytes(ghcb.MAX_TABLE_BYTES + 1)},
    {1: REPORT[1:], 3: b""},
    {3: b""},
    {"1": REPORT, "2": [b"c"]},
    {1: REPORT[1:], 2: [b"c"]},
    {1: "report", 2: [b"c"]},
    {1: REPORT, 2: b"c"},
    {1: REPORT, 2: []},
    {1: REPORT, 2: [b"c"] * 4},
    {1: REPORT, 2: ["c"]},
    {1: REPORT, 2: [b""]},
    {1: REPORT, 2: [bytes(MAX_CERTIFICATE_BYTES + 1)]},
    {1: REPORT, 2: [bytes(MAX_CERTIFICATE_BYTES)] * 4},
]


@pytest.mark.parametrize("number", range(len(OTHER_PAYLOADS)))
def test_any_other_payload_is_malformed(number: int) -> None:
    with pytest.raises(MalformedEvidence):
        evidence.parse(cbor.encode(OTHER_PAYLOADS[number]))


def row(guid: UUID, offset: int, length: int) -> bytes:
    return guid.bytes + struct.pack("<II", offset, length)


END = bytes(24)


def test_a_table_is_read_in_its_order_with_gaps_that_are_zero() -> None:
    blob = row(ghcb.VCEK, 74, 2) + row(ghcb.ASK, 72, 1) + END + b"A" + b"\0" + b"VV" + b"\0\0\0"
    table = ghcb.parse(blob)
    assert [(entry.guid, entry.data) for entry in table.entries] == [
        (ghcb.VCEK, b"VV"),
        (ghcb.ASK, b"A"),
    ]
    assert ghcb.encode(table) == blob
    assert ghcb.parse(END).entries == ()


OTHER_TABLES: list[tuple[bytes, str]] = [
    (b"", "need 24 bytes"),
    (row(ghcb.ASK, 24, 1), "need 24 bytes"),
    (END[:-1], "need 24 bytes"),
    (row(ghcb.ASK, 48, 2) + END + b"A", "need 2 bytes"),
    (row(ghcb.ASK, 50, 1) + END + b"A", "need 2 bytes"),
    (row(ghcb.ASK, 47, 1) + END + b"A", "overlaps"),
    (row(ghcb.ASK, 48, 0) + END, "empty"),
    (row(ghcb.ASK, 0xFFFFFFFF, 0xFFFFFFFF) + END, "need"),
    (row(ghcb.ASK, 48, 1) + END + b"AB", "not zero"),
    (row(ghcb.ASK, 49, 1) + END + b"XA", "not zero"),
    (row(ghcb.ASK, 72, 2) + row(ghcb.ARK, 73, 1) + END + b"AB", "overlaps"),
    (row(ghcb.ASK, 72, 1) + row(ghcb.ASK, 73, 1) + END + b"AB", "repeated"),
    (b"".join(row(UUID(int=n), 500, 1) for n in range(1, 18)) + END, "too many"),
    (row(UUID(int=0), 0, 1) + END, "empty or overlaps|need"),
    (bytes(ghcb.MAX_TABLE_BYTES + 1), "at most"),
]


@pytest.mark.parametrize("number", range(len(OTHER_TABLES)))
def test_any_other_table_is_malformed(number: int) -> None:
    blob, why = OTHER_TABLES[number]
    with pytest.raises(MalformedEvidence, match=why):
        ghcb.parse(blob)


def test_a_full_cache_forgets_the_chain_that_was_unused_longest() -> None:
    chips = [snp_fixtures.platform(name=name) for name in ("first", "second", "third")]
    root = import_root(chips[0].root, now=snp_fixtures.NOW)
    anchors = TrustAnchors(development_roots=(root,))
    cache = ChainCache(capacity=2)

    def use(at: int) -> object:
        chip = chips[at]
        endorsements = Endorsements(chip.vek, chip.intermediate, chip.root)
        return endorse(endorsements, anchors=anchors, now=snp_fixtures.NOW, cache=cache)

    first, second = use(0), use(1)
    assert use(0) is first
    use(2)
    assert use(0) is first
    assert use(1) is not second


Ask = Callable[[], object]


@pytest.mark.parametrize(
    "ask",
    [
        lambda: product.of_cpuid(0x19, 0x20),
        lambda: product.of_cpuid(0x1A, 0x50),
        lambda: product.of_name("Venice"),
        lambda: product.of_name(""),
    ],
    ids=["model", "Venice by model", "Venice by name", "no name"],
)
def test_a_product_nobody_knows_is_unsupported(ask: Ask) -> None:
    with pytest.raises(RefusedEvidence) as caught:
        ask()
    assert caught.value.code is Code.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    ("family", "model", "line"),
    [
        (0x19, 0x00, Product.MILAN),
        (0x19, 0x0F, Product.MILAN),
        (0x19, 0x10, Product.GENOA),
        (0x19, 0xAF, Product.GENOA),
        (0x1A, 0x11, Product.TURIN),
    ],
)
def test_every_known_processor_has_its_line(family: int, model: int, line: Product) -> None:
    assert product.of_cpuid(family, model) is line


@pytest.mark.parametrize("line", Product)
def test_a_tcb_is_written_as_it_was_read(line: Product) -> None:
    raw = tcb.encode({"fmc": 1, "bootloader": 2, "tee": 3, "snp": 4, "microcode": 255}, line)
    decoded = tcb.decode("reported", raw, line)
    assert tcb.encode(dict(decoded.components), line) == raw
