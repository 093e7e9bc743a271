"""Command-line options and answers that all groups of the kit share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sealward_devkit.pki.roots import MAXIMUM_ROOT_LIFE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

NEW_DIRECTORY: Final = click.Path(path_type=Path, file_okay=False)
DIRECTORY: Final = click.Path(path_type=Path, file_okay=False, exists=True)
FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)
NEW_FILE: Final = click.Path(path_type=Path, dir_okay=False)
JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
ROOT: Final = click.option(
    "--root", "root_directory", type=DIRECTORY, required=True, help="Its root."
)
DAYS: Final = click.option(
    "--days",
    type=click.IntRange(1, MAXIMUM_ROOT_LIFE.days),
    default=MAXIMUM_ROOT_LIFE.days,
    show_default=True,
    help="Days until every certificate of the root expires.",
)


def hex_of(size: int) -> Callable[[str], bytes]:
    """An option type: exactly `size` bytes as hexadecimal digits."""

    def convert(text: str) -> bytes:
        try:
            value = bytes.fromhex(text)
        except ValueError:
            value = b""
        if len(value) != size:
            raise click.BadParameter(f"needs {2 * size} hex digits")
        return value

    convert.__name__ = "hex"  # what click calls the type in --help
    return convert


def answer(values: Mapping[str, object], main_key: str, *, as_json: bool) -> None:
    """Print the whole answer as JSON, or its one most wanted value."""
    click.echo(json.dumps(values, indent=2) if as_json else values[main_key] or "none")


def reference_set(name: str, values: list[dict[str, object]]) -> None:
    """Print a reference set without an end."""
    click.echo(json.dumps({"name": name, "not_after": None, "values": values}, indent=2))


def write(path: Path, content: bytes) -> None:
    """Write an output file; a failure is the command's one sentence."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error


def instant(when: datetime) -> str:
    """An instant as answers show it."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
