"""Whoever meets a requirement number in code or tests finds it in the threat model."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CITED = re.compile(r"\bF[1-9][0-9]?[bc]?\b")
EXPLAINED = re.compile(r"^\| (F[1-9][0-9]?[bc]?) \|", re.MULTILINE)
SOURCES = (".py", ".rego", ".proto")


def _cited() -> set[str]:
    sources = (
        path
        for folder in ("sealward", "devkit", "tests", "tools", "benchmarks")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SOURCES and path.is_file()
    )
    return {number for path in sources for number in CITED.findall(path.read_text())}


def test_every_cited_number_is_explained_once() -> None:
    explained = EXPLAINED.findall((ROOT / "docs/threat-model.md").read_text())
    assert len(explained) == len(set(explained))
    assert _cited() - set(explained) == set()


def test_documents_for_users_do_without_them() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    texts = {page: EXPLAINED.sub("", page.read_text()) for page in pages}
    found = {page.name: CITED.findall(text) for page, text in texts.items()}
    # The one example is the sentence that introduces the key.
    assert {name: numbers for name, numbers in found.items() if numbers} == {
        "threat-model.md": ["F4"]
    }
