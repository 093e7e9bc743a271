"""`sealward status`: the whole at a glance."""

from __future__ import annotations

import click

from sealward.controlplane.cli.remote import Item, Remote, remote
from sealward.controlplane.cli.terminal import write_fields, write_json, write_table


@click.command(short_help="Show nodes, policies in force and sweeps.")
@remote
def status(plane: Remote) -> None:
    """Show nodes, postures, policies in force, sweeps under way and the size of the log."""
    found: Item = plane.get("/v1/status")
    if plane.as_json:
        write_json(found)
        return
    write_fields(
        (
            ("trust domain", found["trust_domain"]),
            ("kind", found["kind"]),
            ("nodes", _counts(found["nodes"])),
            ("postures", _counts(found["postures"])),
            ("missing policies", ", ".join(found["missing_policies"]) or None),
            ("sweeps under way", len(found["sweeps"])),
            ("log size", found["log_size"]),
        )
    )
    click.echo()
    write_table(
        ("kind", "layer", "scope", "digest"),
        ([a["kind"], a["layer"], a["scope"], a["digest"]] for a in found["activations"]),
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
