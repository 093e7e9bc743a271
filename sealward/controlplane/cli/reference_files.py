"""`sealward reference files`: the files of a reviewed image, as a reference set.

What `sha256sum` printed is the list; what it is worth is what the image is worth it was made in.
Nothing is read but that list. The control plane reads the document again when it is imported.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import click

from sealward.controlplane.cli.reference_pcr import write_document
from sealward.controlplane.cli.terminal import Failure, write_fields, write_json
from sealward.controlplane.domain.reference_values import MAX_DOCUMENT_VALUES

MAX_LIST_BYTES: Final = 64 << 20  # some 500,000 files; what one set takes is less
# GNU coreutils: a backslash in front when the name is escaped, two spaces or a space and a star.
_LINE: Final = re.compile(r"\\?([0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128}) [ *](.+)")
_SHOWN: Final = 80
_NAME: Final = 200  # characters of a path that stay, of its end: for people only


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of the reference set.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The document to write, for `sealward reference import`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def files(file: Path, *, name: str, output: Path, as_json: bool) -> None:
    """Turn the list of digests in FILE into a reference set.

    FILE is what `sha256sum` (or `sha384sum`, `sha512sum`, as the kernel measures) printed about the
    files of an image that you reviewed. Every file in it may run on your nodes, wherever it lies.
    """
    named = _named(file)
    if not 1 <= len(named) <= MAX_DOCUMENT_VALUES:
        raise Failure(
            f"{file} names {len(named)} different files, and a set has 1 to {MAX_DOCUMENT_VALUES}",
            "split the list, and give each part a name of its own: all sets in force count",
        )
    values = [
        {"kind": "file", "key": digest, "value": {"name": path}} for digest, path in named.items()
    ]
    document: dict[str, Any] = {"name": name, "not_after": None, "values": values}
    write_document(output, document)
    if as_json:
        write_json(document)
    else:
        write_fields((("files", len(values)), ("document", output)))


def _named(file: Path) -> dict[str, str]:
    """Return the first path of each digest, in the order of the list."""
    with file.open("rb") as opened:
        data = opened.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise Failure(f"{file} is longer than {MAX_LIST_BYTES} bytes", "split the list")
    named: dict[str, str] = {}
    # Not splitlines(), which knows more ends of a line than sha256sum escapes.
    *lines, last = data.decode("utf-8", "backslashreplace").split("\n")
    for number, line in enumerate(lines + [last] * bool(last), 1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise Failure(
                f"line {number} of {file} is no digest with its file: {ascii(line)[:_SHOWN]}",
                "give what `sha256sum FILE...` printed, and nothing else",
            )
        path = "".join(letter if letter.isprintable() else "?" for letter in found[2])
        named.setdefault(found[1], path[-_NAME:])
    return named
