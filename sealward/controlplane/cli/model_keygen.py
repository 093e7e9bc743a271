"""`sealward model creator-keygen`: the key with which an owner signs sealed models."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import click

from sealward.controlplane.cli.model_files import (
    PRIVATE_MODE,
    PUBLIC_MODE,
    output,
    reported,
)
from sealward.controlplane.cli.terminal import Failure
from sealward.sealing.signing import CreatorPrivateKey
from sealward.sealing.writer import write_at


@click.command("creator-keygen")
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The private key file; the public key goes to the same name with .pub added.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def creator_keygen(path: Path, *, as_json: bool) -> None:
    """Make a creator key pair: Ed25519 and ML-DSA-65.

    Whoever has the private file can sign models in your name. An existing key is never replaced.
    """
    public_path = path.with_name(f"{path.name}.pub")
    for name in (path, public_path):
        if os.path.lexists(name):
            raise _taken(name)
    private = CreatorPrivateKey.generate(secrets.token_bytes)
    try:
        with reported():
            _write(path, private.encode_file(), PRIVATE_MODE)
            _write(public_path, private.public.encode_file(), PUBLIC_MODE)
    finally:
        private.wipe()
    key_id = private.public.key_id.hex()
    if as_json:
        click.echo(json.dumps({"key_id": key_id, "private": str(path), "public": str(public_path)}))
    else:
        click.echo(f"{key_id}  {public_path}")


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        with output(path, mode=mode, replace=False) as descriptor:
            write_at(descriptor, 0, data + b"\n")
    except FileExistsError:  # it came between the check above and here
        raise _taken(path) from None


def _taken(path: Path) -> Failure:
    return Failure(f"{path} exists, and keys are never replaced", "choose another name with -o")
