"""`sealward model seal`: an ONNX model becomes a file that only attested nodes can open."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click

from sealward.controlplane.cli.model_files import (
    PUBLIC_MODE,
    ModelFolder,
    output,
    progress_bar,
    read_private,
    read_small,
    reported,
)
from sealward.controlplane.cli.model_view import show
from sealward.sealing.header import SealedHeader
from sealward.sealing.onnx_split import split
from sealward.sealing.signing import CreatorPrivateKey
from sealward.sealing.workload_key import WorkloadKey
from sealward.sealing.writer import Description, seal


@click.command("seal")
@click.argument("onnx", type=click.Path(path_type=Path))
@click.option(
    "--workload-key",
    "workload_key",
    required=True,
    type=click.Path(path_type=Path),
    help="The workload's public key file.",
)
@click.option("--name", required=True, help="The model's name: lower case, digits and ._-")
@click.option(
    "--version",
    required=True,
    type=click.IntRange(min=1),
    help="The model's version; nodes refuse to go back to a lower one.",
)
@click.option(
    "--creator-key",
    "creator_key",
    required=True,
    type=click.Path(path_type=Path),
    help="Your private key file, made by `creator-keygen`.",
)
@click.option("--optimised-by", "optimised_by", help="What optimised the graph, if anything did.")
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    help="Sealed file to write.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def seal_command(
    *,
    onnx: Path,
    workload_key: Path,
    name: str,
    version: int,
    creator_key: Path,
    optimised_by: str | None,
    path: Path,
    as_json: bool,
) -> None:
    """Encrypt an ONNX model for a workload and sign it.

    Needs only the workload's public key: nobody, you included, can open the result except nodes
    that the control plane grants its content key to.
    """
    description = Description(
        model=name,
        version=version,
        created=datetime.now(UTC),  # noqa: TID251 - this process's edge; nothing below asks a clock
        optimised_by=optimised_by,
    )
    with reported():
        key = WorkloadKey.parse(read_small(workload_key))
        creator = CreatorPrivateKey.parse_file(read_private(creator_key))
        try:
            header = _seal(onnx, description, key, creator, path)
        finally:
            creator.wipe()
    show(header, as_json=as_json, state="sealed")


def _seal(
    onnx: Path, description: Description, key: WorkloadKey, creator: CreatorPrivateKey, path: Path
) -> SealedHeader:
    with ExitStack() as stack:
        folder = ModelFolder(onnx, stack)
        plain = split(folder.main, folder.open_external)
        total = sum(part.size for part in plain.parts)
        with (
            output(path, mode=PUBLIC_MODE) as descriptor,
            progress_bar("sealing", total) as progress,
        ):
            header = seal(
                plain,
                description,
                workload_key=key,
                creator=creator,
                descriptor=descriptor,
                random_bytes=secrets.token_bytes,
                progress=progress,
            )
            folder.check_unchanged()
    return header
