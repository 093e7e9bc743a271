"""`sealward join-token`: tokens that admit one node each."""

from __future__ import annotations

from typing import Final

import click

from sealward.controlplane.cli.remote import Remote, remote
from sealward.controlplane.cli.terminal import write_json

_TOKEN: Final = {
    "token_id": "id",
    "labels": "labels",
    "created_by": "by",
    "expires": "expires",
    "used": "used",
    "used_by": "node",
}


@click.group("join-token")
def join_token() -> None:
    """Make tokens that admit one node each."""


@join_token.command()
@click.option("--label", "labels", multiple=True, help="NAME=VALUE, given to the node; repeatable.")
@click.option("--minutes", default=60, show_default=True, help="How long it may be used.")
@remote
def create(plane: Remote, labels: tuple[str, ...], minutes: int) -> None:
    """Make a join token and print it; it is never shown again."""
    pairs = dict(_pair(label) for label in labels)
    issued = plane.send(
        "POST", "/v1/join-tokens", {"labels": pairs, "lifetime_seconds": minutes * 60}
    )
    if plane.as_json:
        write_json(issued)
    else:
        click.echo(issued["credential"])


@join_token.command("list")
@remote
def list_tokens(plane: Remote) -> None:
    """List join tokens."""
    plane.show_list(plane.items("/v1/join-tokens"), _TOKEN)


def _pair(label: str) -> tuple[str, str]:
    name, separator, value = label.partition("=")
    if not separator:
        raise click.UsageError(f"--label {label!r} is not NAME=VALUE")
    return name, value
