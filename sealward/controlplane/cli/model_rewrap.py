"""`sealward model rewrap`: another workload key for the same sealed content."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.model_files import (
    PUBLIC_MODE,
    open_source,
    output,
    progress_bar,
    read_small,
    reported,
)
from sealward.controlplane.cli.model_view import show
from sealward.sealing.container import SealedModel
from sealward.sealing.rewrap import merged, rewrap
from sealward.sealing.wrap import KEY_ID_BYTES, WrapFile

_WHAT_IT_DOES_NOT_DO: Final = (
    "Only the workload key changed. Whoever ever held this model's content key can still open this "
    "file: to end that, seal the model again as a new version."
)


def _key_ids(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> frozenset[bytes]:
    del ctx, parameter
    try:
        key_ids = frozenset(bytes.fromhex(value) for value in values)
    except ValueError:
        raise click.BadParameter("a key id is 64 hexadecimal digits") from None
    if any(len(key_id) != KEY_ID_BYTES for key_id in key_ids):
        raise click.BadParameter("a key id is 64 hexadecimal digits")
    return key_ids


@click.command("rewrap")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--wrap",
    "wraps",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A wrap file made for this model; it replaces a wrap for the same key.",
)
@click.option(
    "--drop", multiple=True, callback=_key_ids, help="Key id whose wrap is left out, in hex."
)
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    help="Sealed file to write.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rewrap_command(
    file: Path, wraps: tuple[Path, ...], drop: frozenset[bytes], path: Path, *, as_json: bool
) -> None:
    """Add or replace wraps of the content key; signatures and body stay as they are.

    This rotates the workload key only. It does not take the model away from anyone who has held its
    content key: for that, seal it again.
    """
    if not wraps and not drop:
        raise click.UsageError("nothing to do: give --wrap or --drop")
    with reported(), ExitStack() as stack:
        model = SealedModel.open(open_source(file, stack))
        files = tuple(WrapFile.parse(read_small(name)) for name in wraps)
        header = merged(model.header, files, drop)
        with (
            output(path, mode=PUBLIC_MODE) as descriptor,
            progress_bar("copying", header.file_bytes) as progress,
        ):
            rewrap(model, header, descriptor, progress)
    show(header, as_json=as_json, state="digests verified, signatures not")
    click.echo(_WHAT_IT_DOES_NOT_DO, err=True)
