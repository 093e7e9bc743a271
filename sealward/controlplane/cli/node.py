"""`sealward node`: see nodes, learn why they stand where they stand, decide about them."""

from __future__ import annotations

from typing import Final

import click

from sealward.controlplane.cli.node_explain import explain
from sealward.controlplane.cli.node_result import node_result
from sealward.controlplane.cli.remote import Remote, remote, segment

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
    explain,
    node_result,
):
    node.add_command(_command)
