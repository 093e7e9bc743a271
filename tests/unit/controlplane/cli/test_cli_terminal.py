"""Nothing that an attacker wrote acts on an administrator's terminal (F26)."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.cli.terminal import printable, write_json, write_table

HOSTILE = [
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\u202etxt.exe",
    "\u2066isolate\u2069",
    "line\nbreak",
    "\rback",
    "\x7f\x08",
    "\u200bzero",
    "\u2028separator",
    "\ud800",
    "\ue000",
    "e\u0301\u0301\u0301",
    "\x9b31m",
    "\U000e0041tag",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_known_attacks_are_escaped(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert "\\u{" in shown


@given(st.text())
def test_every_text_is_shown_on_one_line_of_printable_characters(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(c) in {"Mn", "Me", "Cf"} for c in shown)


@given(st.text(), st.text())
def test_different_texts_are_shown_differently(one: str, other: str) -> None:
    assert (printable(one) == printable(other)) == (one == other)


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"])))
def test_json_is_ascii_without_control_characters_and_loses_nothing(text: str) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("click.echo", lines.append)
        write_json({"a": text})
    assert lines[0].isascii()
    assert all(c.isprintable() or c == "\n" for c in lines[0])
    assert json.loads(lines[0]) == {"a": text}  # noqa: TID251 - any reader must get it back


def test_a_table_is_aligned_and_ends_no_line_in_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("a", "b"), [["long value", None], ["x", "\x1b"]])
    assert capsys.readouterr().out == "A           B\nlong value  -\nx           \\u{1b}\n"


def test_an_empty_table_has_its_headers(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("a", "b"), [])
    assert capsys.readouterr().out == "A  B\n"


def test_a_list_is_shown_as_its_items_and_each_is_escaped() -> None:
    assert printable(["admin", "auditor\x1b"]) == "admin, auditor\\u{1b}"
    assert printable([]) == printable(None)
