"""`sealward model verify`: is a sealed model whole, and its creator's? Needs no secret."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from sealward.controlplane.cli.model_files import open_source, progress_bar, read_small, reported
from sealward.controlplane.cli.model_view import show
from sealward.sealing.container import SealedModel
from sealward.sealing.signing import CreatorPublicKey


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--creator",
    required=True,
    type=click.Path(path_type=Path),
    help="The creator's public key file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify_command(file: Path, creator: Path, *, as_json: bool) -> None:
    """Check both signatures and every byte of a sealed model's body."""
    with reported(), ExitStack() as stack:
        public = CreatorPublicKey.parse_file(read_small(creator))
        model = SealedModel.open(open_source(file, stack))
        model.verify_signatures(public)
        with progress_bar("verifying", model.header.file_bytes) as progress:
            model.verify_digests(progress=progress)
        show(model.header, as_json=as_json, state="signatures and digests verified")
