"""The page of figures: what it takes from a benchmark, and what it refuses."""

from __future__ import annotations

import json

import pytest

from benchmarks.report import WrongDocument, page, read_document

GOOD = {
    "name": "Reading",
    "what": "A thing against the least of it.",
    "unit": "ms",
    "rows": [
        {"label": "least", "median": 1234.5},
        {"label": "thing", "median": 2, "p99": 3.14159, "ratio_to": "least", "ratio": 0.00162},
    ],
    "notes": ["Bounded by paper."],
}


def test_a_document_becomes_a_table_without_empty_columns() -> None:
    text = page([read_document(json.dumps(GOOD))], machine=[("date", "today")])
    assert text.endswith(
        "| date | today |\n\n"
        "## Reading\n\nA thing against the least of it.\n\n"
        "|  | median, ms | p99, ms | ratio |\n"
        "|---|---:|---:|---:|\n"
        "| least | 1,234 |  |  |\n"
        "| thing | 2 | 3.142 | 0.00162 x least |\n\n"
        "Bounded by paper.\n"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"rows": []},
        {"rows": [{"label": "a", "median": 1}, {"label": "a", "median": 2}]},
        {"rows": [{"label": "a", "median": 1, "ratio": 2.0}]},
        {"rows": [{"label": "a", "median": 1, "ratio": 2.0, "ratio_to": "no such row"}]},
        {"rows": [{"label": "a"}]},
        {"rows": [{"label": "a", "median": 1, "mean": 2}]},
        {"surprise": 1},
    ],
)
def test_anything_else_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(WrongDocument):
        read_document(json.dumps(GOOD | change))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "some text first\n{}"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(WrongDocument):
        read_document(text)
