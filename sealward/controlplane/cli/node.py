"""`sealward node`: see nodes, learn why they stand where they stand, decide about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import click

from sealward.controlplane.cli.remote import Item, Remote, remote, segment
from sealward.controlplane.cli.terminal import printable, write_fields, write_json

_STATES: Final = click.Choice(["pending", "admitted", "rejected", "retired"])
_ROW: Final = {
    "node_id": "node",
    "state": "state",
    "posture": "posture",
    "posture_code": "code",
    "tee": "tee",
    "platform_id": "platform",
    "last_attested": "last attested",
}
_NODE: Final = {
    **_ROW,
    "failure_class": "failure class",
    "instance_value": "instance",
    "provider": "provider",
    "labels_attested": "attested labels",
    "labels_assigned": "assigned labels",
    "development": "development",
    "clock": "clock",
    "agent_version": "agent version",
    "enrolled": "enrolled",
    "quarantined": "quarantined",
    "predecessor": "predecessor",
}
_REASON: Final = (
    ("claim", "claim"),
    ("expected", "expected"),
    ("actual", "found"),
    ("hint", "hint"),
    ("rule", "rule"),
    ("layer", "layer"),
)


@click.group()
def node() -> None:
    """See nodes and decide about them."""


@node.command("list")
@click.option("--state", type=_STATES, help="Only nodes in this state.")
@click.option("--posture", help="Only nodes of this posture, as compliant.")
@remote
def list_nodes(plane: Remote, state: str | None, posture: str | None) -> None:
    """List nodes."""
    plane.show_list(plane.items("/v1/nodes", state=state, posture=posture), _ROW)


@node.command()
@click.argument("node_id")
@remote
def show(plane: Remote, node_id: str) -> None:
    """Show the node NODE_ID."""
    plane.show(plane.get(f"/v1/nodes/{segment(node_id)}"), _NODE)


@node.command()
@click.argument("node_id")
@remote
def explain(plane: Remote, node_id: str) -> None:
    """Say why the node NODE_ID stands where it stands: claim, expected, found, hint."""
    found: Item = plane.get(f"/v1/nodes/{segment(node_id)}/explain")
    if plane.as_json:
        write_json(found)
        return
    if found["node"] is not None:
        plane.show(found["node"], _ROW)
    for decision in found["decisions"]:
        click.echo()
        _write_decision(decision)


def _write_decision(decision: Item) -> None:
    named = [("decided", decision["decided"]), ("step", decision["kind"])]
    named += [("outcome", decision["outcome"]), ("code", decision["code"] or None)]
    named += [("posture", decision["posture"]), ("correlation id", decision["correlation_id"])]
    write_fields(named)
    _write_reasons(decision["reasons"])


def _write_reasons(reasons: object) -> None:
    if not isinstance(reasons, Iterable):
        return
    for reason in reasons:
        if not isinstance(reason, dict):
            click.echo(f"  {printable(reason)}")
            continue
        click.echo(f"  {printable(reason.get('code'))}")
        for name, title in _REASON:
            if reason.get(name) is not None:
                click.echo(f"    {title:<9} {printable(reason[name])}")


def _deciding(move: str, about: str, *, reason_needed: bool) -> click.Command:
    """Return the command of one decision about a node."""
    why = "Why, for the audit log."
    reason_option = (
        click.option("--reason", required=True, help=why)
        if reason_needed
        else click.option("--reason", default="", help=why)
    )

    @click.command(move, help=about)
    @click.argument("node_id")
    @reason_option
    @remote
    def decide(plane: Remote, node_id: str, reason: str) -> None:
        path = f"/v1/nodes/{segment(node_id)}/{move}"
        plane.show(plane.send("POST", path, {"reason": reason}), _ROW)

    return decide


for _command in (
    _deciding("admit", "Admit the pending node NODE_ID.", reason_needed=False),
    _deciding("reject", "Reject the pending node NODE_ID.", reason_needed=False),
    _deciding("retire", "Retire the node NODE_ID: its leases end.", reason_needed=False),
    _deciding(
        "quarantine", "Take the leases of NODE_ID away until it is released.", reason_needed=True
    ),
    _deciding("release", "End the quarantine of NODE_ID.", reason_needed=True),
):
    node.add_command(_command)
