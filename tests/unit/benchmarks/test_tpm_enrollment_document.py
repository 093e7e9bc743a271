"""The section on TPM enrolment: parts and rest add up to the whole."""

from __future__ import annotations

import json

import pytest

from benchmarks.load.tpm_agent import CALLS, TPM, Spent
from benchmarks.report import read_document
from benchmarks.tpm_enrollment import document


def spent(whole: float, *, tpm: float, calls: float) -> Spent:
    found = Spent(whole=whole)
    for parts, seconds in ((TPM, tpm), (CALLS, calls)):
        for part in parts:
            found.parts[part] = seconds / len(parts)
    return found


@pytest.fixture
def enrolled() -> list[Spent]:
    return [spent(0.1, tpm=0.03, calls=0.06) for _ in range(20)]


def test_the_page_takes_it_and_the_ratio_is_to_the_tpm_commands(enrolled: list[Spent]) -> None:
    least = [spent(0.025, tpm=0.025, calls=0.0) for _ in range(20)]
    found = read_document(json.dumps(document({"P-384": (enrolled, least)})))
    rows = {row.label: row for row in found.rows}
    whole = rows["enrolment, P-384 endorsement key"]
    assert (whole.median, whole.ratio_to, whole.ratio) == (100, "its TPM commands alone, P-384", 4)
    assert rows["  the agent itself, P-384"].median == 10
    parts = sum(row.median for label, row in rows.items() if label.startswith("  "))
    assert parts == pytest.approx(whole.median)


def test_shares_are_told(enrolled: list[Spent]) -> None:
    [told, target] = document({"P-384": (enrolled, enrolled)})["notes"]  # type: ignore[misc]  # two
    assert "TPM commands 30%, control plane 60%, the agent itself 10%; slowest 100 ms" in told
    assert target == "Target: under 300 ms for the whole."
