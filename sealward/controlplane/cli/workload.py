"""`sealward workload`: rights to run models, and the public keys that models are sealed to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.remote import Item, Remote, remote, segment
from sealward.controlplane.cli.terminal import Failure, write_fields, write_json
from sealward.controlplane.cli.workload_creator import KEY_FILE, creator, public_key
from sealward.sealing.errors import SealedModelError
from sealward.sealing.workload_key import WorkloadKey

_WORKLOAD: Final = {
    "name": "name",
    "data_class": "data class",
    "production": "production",
    "ttl_seconds": "ttl (s)",
    "max_instances": "max instances",
    "created": "created",
}


@click.group(short_help="Create workloads and pin who seals for them.")
def workload() -> None:
    """Create workloads, pin their creators and fetch the keys that models are sealed to."""


workload.add_command(creator)


@workload.command()
@click.argument("name")
@click.option(
    "--data-class",
    default="internal",
    show_default=True,
    help="Class of its data, for release policies to read.",
)
@click.option("--production", is_flag=True, help="Never release to a development node.")
@click.option("--ttl", default=300, show_default=True, help="Longest life of a lease, seconds.")
@click.option("--max-instances", type=int, help="Most nodes that may hold its keys at once.")
@click.option(
    "--creator",
    "creators",
    multiple=True,
    type=KEY_FILE,
    help="Public key file of a creator whose models it runs; can be repeated, and added later.",
)
@remote
def create(
    plane: Remote,
    name: str,
    data_class: str,
    ttl: int,
    max_instances: int | None,
    *,
    production: bool,
    creators: tuple[Path, ...],
) -> None:
    """Create the workload NAME with a fresh key."""
    body = {
        "name": name,
        "data_class": data_class,
        "production": production,
        "ttl_seconds": ttl,
        "max_instances": max_instances,
        "creators": [public_key(file) for file in creators],
    }
    made: Item = plane.send("POST", "/v1/workloads", body)
    plane.show({**made, "key_id": made["key"]["key_id"]}, {**_WORKLOAD, "key_id": "key"})


@workload.command("list")
@remote
def list_workloads(plane: Remote) -> None:
    """List workloads."""
    plane.show_list(plane.items("/v1/workloads"), _WORKLOAD)


@workload.command()
@click.argument("name")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.",
)
@remote
def key(plane: Remote, name: str, output: Path) -> None:
    """Write the public key file of the workload NAME, for owners to seal with."""
    document = plane.download(f"/v1/workloads/{segment(name)}/key")
    try:
        parsed = WorkloadKey.parse(document)
    except SealedModelError as error:
        raise Failure(f"the server's key file is not one: {error.detail}") from None
    if parsed.workload != name:
        raise Failure(f"the server's key file is for workload {parsed.workload}")
    output.write_bytes(document)
    told = {"workload": name, "key": parsed.public.key_id.hex(), "file": str(output)}
    if plane.as_json:
        write_json(told)
    else:
        write_fields(told.items())
