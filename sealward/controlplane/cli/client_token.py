"""`sealward client-token`: tokens with which callers use a workload's agents."""

from __future__ import annotations

import click

from sealward.controlplane.cli.remote import Remote, remote
from sealward.controlplane.cli.terminal import write_json


@click.group("client-token")
def client_token() -> None:
    """Mint tokens for callers of a workload's agents."""


@client_token.command()
@click.option("--workload", required=True, help="The workload that the token is for.")
@click.option("--subject", required=True, help="Who the caller is.")
@click.option("--minutes", default=60, show_default=True, help="How long it is valid.")
@remote
def create(plane: Remote, workload: str, subject: str, minutes: int) -> None:
    """Mint a client token and print it; it is never shown again."""
    body = {"workload": workload, "subject": subject, "lifetime_seconds": minutes * 60}
    issued = plane.send("POST", "/v1/client-tokens", body)
    if plane.as_json:
        write_json(issued)
    else:
        click.echo(issued["credential"])
