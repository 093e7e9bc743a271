"""What reaches a terminal: tables, JSON and errors, with every foreign text escaped (F26).

Names, notes, labels and reasons may come from an attacker's evidence. A terminal obeys control
characters and lets bidirectional marks reorder what an administrator reads.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import IO, Any, Final

import click

_COMBINING: Final = frozenset({"Mn", "Me"})  # stack without limit over neighbouring lines
_ABSENT: Final = "-"
# None of these stands outside of strings in JSON text.
_ESCAPES: Final = MappingProxyType({ord(c): f"\\u{ord(c):04x}" for c in "\x7f<>&"})


def printable(value: object) -> str:
    r"""Return the text of a value with everything a terminal would act on as `\u{...}`.

    A list comes as its items, separated by commas.
    """
    if isinstance(value, list):
        return ", ".join(printable(item) for item in value) or _ABSENT
    text = _ABSENT if value is None else str(value)
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    # Not printable: control, format (bidi, zero width), surrogate, private, unassigned, and every
    # separator but the space.
    if not character.isprintable() or unicodedata.category(character) in _COMBINING:
        return f"\\u{{{ord(character):x}}}"
    return character


def write_json(value: object) -> None:
    """Print a value as JSON in ASCII, so that no character in it can act, on a page neither."""
    text = json.dumps(value, indent=2, ensure_ascii=True, default=_json_default)
    click.echo(text.translate(_ESCAPES))


def write_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns; nothing but the headers when there are none."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max(len(header), *(len(row[at]) for row in cells)) if cells else len(header)
        for at, header in enumerate(headers)
    ]
    for line in ([header.upper() for header in headers], *cells):
        click.echo("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def write_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    pairs = [(name, printable(value)) for name, value in fields]
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name.ljust(width)}  {value}")


class Failure(click.ClickException):
    """A refusal as the command line shows it: one sentence and what to do next; exit status 1."""

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(printable(sentence))
        self.hint = printable(hint)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print to standard error."""
        click.echo(f"Error: {self.message}", file=file, err=file is None)
        if self.hint:
            click.echo(f"Hint: {self.hint}", file=file, err=file is None)


def _json_default(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
