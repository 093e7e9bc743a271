"""`sealward workload creator`: whose models a workload may run."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.model_files import read_small, reported
from sealward.controlplane.cli.remote import Remote, remote, segment
from sealward.sealing.signing import CreatorPublicKey
from sealward.verifier.wire import base64

KEY_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_CREATOR: Final = {"workload": "workload", "key_id": "creator", "by": "by", "added": "added"}


@click.group()
def creator() -> None:
    """Pin the creator keys whose models a workload may run."""


@creator.command()
@click.argument("workload")
@click.argument("file", type=KEY_FILE)
@remote
def add(plane: Remote, workload: str, file: Path) -> None:
    """Pin the creator public key in FILE, as `model creator-keygen` wrote it, to WORKLOAD."""
    body = {"public_key": public_key(file)}
    plane.show(plane.send("POST", f"/v1/workloads/{segment(workload)}/creators", body), _CREATOR)


@creator.command()
@click.argument("workload")
@click.argument("key_id")
@click.option("--reason", required=True, help="Why, for the audit log.")
@remote
def remove(plane: Remote, workload: str, key_id: str, reason: str) -> None:
    """Trust the creator KEY_ID no more: its models are withdrawn; leases that carry them end."""
    path = f"/v1/workloads/{segment(workload)}/creators/{segment(key_id)}/remove"
    plane.show(plane.send("POST", path, {"reason": reason}), _CREATOR)


@creator.command("list")
@click.argument("workload")
@remote
def list_creators(plane: Remote, workload: str) -> None:
    """List the creator keys whose models WORKLOAD may run."""
    plane.show_list(plane.items(f"/v1/workloads/{segment(workload)}/creators"), _CREATOR)


def public_key(file: Path) -> str:
    """Return the whole key of a creator public key file as the API takes it.

    Raises:
        Failure: the file is not one.
    """
    with reported():
        return base64.encode(CreatorPublicKey.parse_file(read_small(file)).encoded)
