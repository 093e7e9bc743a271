"""The remote half of `sealward audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.remote import Remote, remote
from sealward.controlplane.cli.terminal import printable, write_fields, write_json

_ENTRY: Final = {
    "log_index": "index",
    "created": "created",
    "kind": "kind",
    "body": "body",
    "leaf_hash": "leaf hash",
}
_OUTPUT: Final = click.Path(dir_okay=False, path_type=Path)


@click.command()
@remote
def entries(plane: Remote) -> None:
    """List audit entries, oldest first."""
    plane.show_list(plane.items("/v1/audit/entries"), _ENTRY)


@click.command()
@click.option("--output", "-o", type=_OUTPUT, help="File to write [default: print it].")
@remote
def checkpoint(plane: Remote, output: Path | None) -> None:
    """Fetch the newest signed checkpoint: keep it, and a later log must extend it."""
    _give(plane, "checkpoint", plane.download("/v1/audit/checkpoint"), output)


@click.command("log-key")
@click.option("--output", "-o", type=_OUTPUT, help="File to write [default: print it].")
@remote
def log_key(plane: Remote, output: Path | None) -> None:
    """Fetch the public key that checkpoints are verified with."""
    _give(plane, "log_key", plane.download("/v1/audit/log-key"), output)


@click.command()
@click.option("--output", "-o", required=True, type=_OUTPUT, help="File to write.")
@remote
def export(plane: Remote, output: Path) -> None:
    """Write the log up to its newest checkpoint to a file, for `sealward audit verify`."""
    partial = output.with_name(f"{output.name}.part")
    size = 0
    with plane.stream("/v1/audit/export") as chunks, partial.open("wb") as file:
        for chunk in chunks:
            size += file.write(chunk)
    partial.replace(output)  # a broken connection never leaves half a log under the name asked for
    _tell(plane, {"file": str(output), "bytes": size})


def _give(plane: Remote, what: str, content: bytes, output: Path | None) -> None:
    if output is not None:
        output.write_bytes(content)
        _tell(plane, {"file": str(output), "bytes": len(content)})
    elif plane.as_json:
        write_json({what: content.decode("utf-8", "replace")})
    else:
        for line in content.decode("utf-8", "replace").removesuffix("\n").split("\n"):
            click.echo(printable(line))


def _tell(plane: Remote, told: dict[str, str | int]) -> None:
    if plane.as_json:
        write_json(told)
    else:
        write_fields(told.items())
