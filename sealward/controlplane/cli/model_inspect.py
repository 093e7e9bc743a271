"""`sealward model inspect`: what a sealed model says about itself."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from sealward.controlplane.cli.model_files import open_source, reported
from sealward.controlplane.cli.model_view import show
from sealward.sealing.container import SealedModel


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(file: Path, *, as_json: bool) -> None:
    """Show the header of a sealed model. Checks its form, but not who made it: see `verify`."""
    with reported(), ExitStack() as stack:
        model = SealedModel.open(open_source(file, stack))
        show(model.header, as_json=as_json, state="well-formed, not verified")
