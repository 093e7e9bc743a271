"""Documents point at what exists: links, headings, and files named in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:sealward|devkit|tests|docs|benchmarks|tools|\.ci)/[\w./*-]*)(?:::\w+)?`")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} (.+?)\s*$", re.MULTILINE)


def _documents() -> Iterator[Path]:
    """Every Markdown file of the checkout; what starts with a dot is a tool's."""
    for path in sorted(ROOT.rglob("*.md")):
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
            yield path


DOCUMENTS = tuple(_documents())


def anchors_of(document: Path) -> set[str]:
    """Anchors that a forge gives to the headings of a document."""
    text = FENCED.sub("", document.read_text())
    slugs = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text))
    return {slug.replace(" ", "-") for slug in slugs}


def broken_links(document: Path, root: Path = ROOT) -> list[str]:
    """Links of a document whose file or heading does not exist."""
    broken = []
    for found in LINK.finditer(FENCED.sub("", document.read_text())):
        target = found[1] or found[2]
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        exists = file.is_relative_to(root) and file.exists()
        if not exists or (anchor and file.suffix == ".md" and anchor not in anchors_of(file)):
            broken.append(target)
    return broken


def missing_files(document: Path) -> list[str]:
    """Paths in `code` that do not exist: from the root or beside the document; `*` as in globs."""
    return [
        name
        for name in NAMED.findall(FENCED.sub("", document.read_text()))
        if not any(ROOT.glob(name.rstrip("/"))) and not any(document.parent.glob(name.rstrip("/")))
    ]


def relative(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_link_resolves(document: Path) -> None:
    assert not broken_links(document)


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    assert not missing_files(document)


def test_a_broken_link_and_a_missing_file_are_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "# One heading, here\n[a](#one-heading-here) [b](#no-such) [c](nowhere.md) [d](https://e.org)\n"
        "`sealward/no_such.py` `sealward/verifier/` `tests/unit/**/test_floe.py::anything`\n"
        "```\n[x](in-a-fence.md) `docs/nothing.md`\n```\n"
    )
    assert anchors_of(document) == {"one-heading-here"}
    assert missing_files(document) == ["sealward/no_such.py"]
    assert broken_links(document, tmp_path) == ["#no-such", "nowhere.md"]
