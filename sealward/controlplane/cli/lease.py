"""`sealward lease`: who may use which keys until when."""

from __future__ import annotations

from typing import Final

import click

from sealward.controlplane.cli.model_remote import described
from sealward.controlplane.cli.remote import Item, Remote, remote, segment
from sealward.controlplane.cli.terminal import write_json, write_table

_LEASE: Final = {
    "lease_id": "lease",
    "node_id": "node",
    "workload": "workload",
    "state": "state",
    "horizon": "horizon",
    "horizon_cause": "set by",
    "ended": "ended",
    "end_cause": "cause",
    "exposed": "exposure",
}


@click.group()
def lease() -> None:
    """See leases and what became of their keys."""


@lease.command("list")
@click.option("--node", "node_id", help="Only of this node.")
@click.option("--workload", help="Only of this workload.")
@click.option(
    "--active/--ended", default=None, help="Only active leases, or only ended ones [default: both]."
)
@remote
def list_leases(
    plane: Remote, node_id: str | None, workload: str | None, *, active: bool | None
) -> None:
    """List leases."""
    items = plane.items("/v1/leases", node_id=node_id, workload=workload, active=active)
    plane.show_list(items if plane.as_json else map(_with_words, items), _LEASE)


@lease.command()
@click.argument("lease_id")
@remote
def show(plane: Remote, lease_id: str) -> None:
    """Show a lease, the models whose keys it carried, and its node's wipe statements."""
    found: Item = plane.get(f"/v1/leases/{segment(lease_id)}")
    if plane.as_json:
        write_json(found)
        return
    plane.show(_with_words(found), _LEASE)
    click.echo()
    write_table(
        ("model", "version", "content key"),
        ([m["model"], m["version"], m["content_key_id"]] for m in found["models"]),
    )
    click.echo()
    write_table(
        ("wipe statement", "terms", "received", "status"),
        ([w["statement_id"], w["sequence"], w["received"], w["status"]] for w in found["wipes"]),
    )


def _with_words(item: Item) -> Item:
    return {**item, "exposed": described(item["exposure"])}
