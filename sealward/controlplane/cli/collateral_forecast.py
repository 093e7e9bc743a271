"""`sealward collateral forecast`: which nodes fail on which day, by which component."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.remote import Remote, remote
from sealward.controlplane.cli.terminal import write_fields, write_json, write_table

_DAYS: Final = 30
_MAX_FILE: Final = 1 << 20
_ENDINGS: Final = ("at", "component", "nodes", "leases", "hint")
_NODES: Final = ("at", "node_id", "component", "leases", "hint")
_SHIFTS: Final = ("node_id", "before", "after", "advisories", "leases")


@click.command()
@click.option("--days", type=int, default=_DAYS, show_default=True, help="How far to look ahead.")
@click.option(
    "--proposed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A newer piece, such as a TCB info: which nodes would be rated otherwise.",
)
@click.option("--as", "named", metavar="KIND:NAME", help="What the proposed file is.")
@remote
def forecast(plane: Remote, *, days: int, proposed: Path | None, named: str | None) -> None:
    """Say which nodes fail on which day if nothing is renewed, why, and what mends it."""
    if proposed is not None:
        _proposed(plane, proposed, named)
        return
    outlook = plane.get("/v1/collateral/forecast", days=days)
    nodes = list(plane.items("/v1/collateral/forecast/nodes", days=days))
    if plane.as_json:
        write_json(outlook | {"node_endings": nodes})
        return
    write_fields(
        (
            ("until", outlook["until"]),
            ("nodes", outlook["nodes"]),
            ("of these end", outlook["ending"]),
            ("without dates on record", outlook["unknown"]),
        )
    )
    if outlook["endings"]:
        click.echo()
        write_table(
            ("ends at", "component", "nodes", "leases", "what to do"),
            ([item[name] for name in _ENDINGS] for item in outlook["endings"]),
        )
        click.echo()
        write_table(
            ("ends at", "node", "component", "leases", "what to do"),
            ([item[name] for name in _NODES] for item in sorted(nodes, key=lambda one: one["at"])),
        )


def _proposed(plane: Remote, file: Path, named: str | None) -> None:
    with file.open("rb") as opened:
        data = opened.read(_MAX_FILE + 1)
    found = plane.upload(
        "/v1/collateral/forecast/proposed", data, "application/octet-stream", named=named
    )
    if plane.as_json:
        write_json(found)
        return
    write_fields(
        (
            ("proposed", f"{found['kind']}:{found['name']}"),
            ("number", found["number"]),
            ("issued", found["issued"]),
            ("nodes that rest on it", found["examined"]),
            ("of these change", len(found["shifts"])),
        )
    )
    if found["shifts"]:
        click.echo()
        write_table(
            ("node", "now", "then", "new advisories", "leases"),
            ([item[name] for name in _SHIFTS] for item in found["shifts"]),
        )
