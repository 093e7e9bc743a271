"""`sealward platform`: the hardware that we accept."""

from __future__ import annotations

from typing import Final

import click

from sealward.controlplane.cli.remote import Remote, remote, segment

_PLATFORM: Final = {
    "platform_id": "platform",
    "state": "state",
    "note": "note",
    "by": "by",
    "changed": "changed",
}


@click.group()
def platform() -> None:
    """Allow or deny platforms."""


@platform.command()
@click.argument("platform_id")
@click.option("--note", default="", help="For the next reader.")
@remote
def allow(plane: Remote, platform_id: str, note: str) -> None:
    """Accept nodes on PLATFORM_ID, as `node show` and `verify` print it."""
    _put(plane, platform_id, "allowed", note)


@platform.command()
@click.argument("platform_id")
@click.option("--note", required=True, help="Why, for the audit log.")
@remote
def deny(plane: Remote, platform_id: str, note: str) -> None:
    """Take leases away from nodes on PLATFORM_ID and give them none."""
    _put(plane, platform_id, "denied", note)


@platform.command("list")
@remote
def list_platforms(plane: Remote) -> None:
    """List platforms."""
    plane.show_list(plane.items("/v1/platforms"), _PLATFORM)


def _put(plane: Remote, platform_id: str, state: str, note: str) -> None:
    body = {"state": state, "note": note}
    plane.show(plane.send("PUT", f"/v1/platforms/{segment(platform_id)}", body), _PLATFORM)
