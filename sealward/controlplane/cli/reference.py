"""`sealward reference`: sets of reference values and what is in force of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.reference_files import files
from sealward.controlplane.cli.reference_pcr import pcr
from sealward.controlplane.cli.remote import Remote, remote, segment
from sealward.controlplane.cli.terminal import Failure, write_json
from sealward.controlplane.domain.reference_values import MAX_DOCUMENT_BYTES

_SET: Final = {
    "name": "name",
    "state": "state",
    "not_after": "not after",
    "digest": "digest",
    "imported_by": "by",
    "imported": "imported",
}
_VALUE: Final = {
    "kind": "kind",
    "key": "key",
    "state": "state",
    "value": "value",
    "withdraw_reason": "reason",
}


@click.group()
def reference() -> None:
    """Import reference sets and withdraw what no longer holds."""


reference.add_command(files)
reference.add_command(pcr)


@reference.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--staged", is_flag=True, help="Import it without putting it in force.")
@remote
def import_set(plane: Remote, file: Path, *, staged: bool) -> None:
    """Import the reference set in FILE and put it in force."""
    with file.open("rb") as opened:
        document = opened.read(MAX_DOCUMENT_BYTES + 1)
    if len(document) > MAX_DOCUMENT_BYTES:  # the server's own budget, told before sending
        raise Failure(
            f"{file} is larger than {MAX_DOCUMENT_BYTES} bytes", "split it into several sets"
        )
    plane.show(
        plane.upload("/v1/reference-sets", document, "application/json", activate=not staged),
        _SET,
    )


@reference.command("list")
@remote
def list_sets(plane: Remote) -> None:
    """List reference sets."""
    plane.show_list(plane.items("/v1/reference-sets"), _SET)


@reference.command()
@click.argument("name")
@remote
def show(plane: Remote, name: str) -> None:
    """Show the set NAME and its values."""
    found = plane.get(f"/v1/reference-sets/{segment(name)}")
    values = plane.items(f"/v1/reference-sets/{segment(name)}/values")
    if plane.as_json:
        write_json({**found, "values": list(values)})
        return
    plane.show(found, _SET)
    click.echo()
    plane.show_list(values, _VALUE)


@reference.command()
@click.argument("name")
@remote
def activate(plane: Remote, name: str) -> None:
    """Put the staged set NAME in force."""
    plane.show(plane.send("POST", f"/v1/reference-sets/{segment(name)}/activate"), _SET)


@reference.command()
@click.argument("kind")
@click.argument("key")
@click.option("--set", "name", required=True, help="The set that the value stands in.")
@click.option("--reason", required=True, help="Why, for the audit log.")
@remote
def withdraw(plane: Remote, kind: str, key: str, name: str, reason: str) -> None:
    """Take one value out of force, in every set; leases that rest on it end."""
    body = {"kind": kind, "key": key, "reason": reason}
    plane.show(plane.send("POST", f"/v1/reference-sets/{segment(name)}/withdrawals", body), _VALUE)


@reference.command()
@click.argument("kind")
@click.argument("key")
@click.option("--set", "name", required=True, help="A set that the value stands in.")
@click.option("--reason", required=True, help="Why, for the audit log.")
@remote
def reinstate(plane: Remote, kind: str, key: str, name: str, reason: str) -> None:
    """Take a withdrawal back: the value counts again in every set in force that names it."""
    body = {"kind": kind, "key": key, "reason": reason}
    plane.show(
        plane.send("POST", f"/v1/reference-sets/{segment(name)}/reinstatements", body), _VALUE
    )


@reference.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why, for the audit log.")
@remote
def revoke(plane: Remote, name: str, reason: str) -> None:
    """Take the whole set NAME out of force, for good."""
    plane.show(
        plane.send("POST", f"/v1/reference-sets/{segment(name)}/revoke", {"reason": reason}), _SET
    )


@reference.command()
@click.argument("name")
@click.option("--not-after", help="Instant like 2027-01-31T00:00:00Z; leave out to lift the end.")
@remote
def expire(plane: Remote, name: str, not_after: str | None) -> None:
    """Set or lift the end of the set NAME."""
    body = {"not_after": not_after}
    plane.show(plane.send("PUT", f"/v1/reference-sets/{segment(name)}/not-after", body), _SET)
