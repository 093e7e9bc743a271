"""The section on kinds of evidence: each is minted and verifies, and the bar is that of issue 4."""

from __future__ import annotations

import json

import pytest

from benchmarks.formats import Times, checks_of, document, measure
from benchmarks.load.minted_evidence import cases
from benchmarks.report import read_document

KINDS = {
    "TDX v4": "tdx",
    "TDX v5": "tdx",
    "SGX v3": "sgx",
    "Nitro": "nitro",
    "Azure on SNP": "azure-snp",
    "Azure on TDX": "azure-tdx",
    "Google vTPM": "google-vtpm",
    "CCA": "cca",
    "PSA": "psa",
    "NVIDIA GPU": "nvidia-gpu",
    "SNP and a GPU": "snp",
}


def times(raw: int, warm: int, *, peer: int | None = None) -> Times:
    return Times(
        name="TDX", checks="P-256", raw=raw, warm=warm, cold=9_000_000, peer=peer, beside=warm
    )


def test_every_kind_is_minted_verifies_warm_and_cold_and_its_raw_signatures_hold() -> None:
    found = {}
    for case in cases():
        found[case.name] = case.warm().claims.tee.value
        assert case.warm().claims == case.cold().claims
        for check in checks_of(case):
            check.run()
    assert found == KINDS


def test_one_kind_is_measured_against_raw_checks_and_dcap_qvl() -> None:
    case = next(case for case in cases() if case.name == "TDX v4")
    found = measure(case, rounds=3)
    assert found.checks == "P-256"
    assert found.peer is not None
    assert 0 < found.raw < found.warm < found.cold


@pytest.mark.parametrize(
    ("one", "met"),
    [
        (times(100_000, 250_000), True),
        (times(100_000, 250_001), False),
        (times(500_000, 650_000), True),
        (times(500_000, 650_001), False),
        (times(100_000, 240_000, peer=120_000), True),
        (times(100_000, 240_001, peer=120_000), False),
    ],
)
def test_the_bar_is_150_us_where_checks_are_cheap_and_a_ratio_elsewhere(
    one: Times, *, met: bool
) -> None:
    assert one.verdict.endswith("met." if met else "MISSED.")


def test_the_page_takes_it_with_ratios_to_the_raw_checks() -> None:
    found = read_document(json.dumps(document([times(100_000, 200_000, peer=400_000)], 7)))
    rows = {row.label: row for row in found.rows}
    assert list(rows) == ["TDX: raw, P-256", "TDX: warm", "TDX: cold", "TDX: dcap-qvl"]
    warm, peer = rows["TDX: warm"], rows["TDX: dcap-qvl"]
    assert (warm.median, warm.ratio_to, warm.ratio) == (200, "TDX: raw, P-256", 2)
    assert (peer.ratio_to, peer.ratio) == ("TDX: warm", 2)
    assert found.notes[0] == "TDX: 100 us above the raw checks, 0.50 of dcap-qvl: met."
