"""`sealward node result`: a signed statement about a node, for a relying party to check."""

from __future__ import annotations

import click

from sealward.controlplane.cli.remote import Remote, remote, segment
from sealward.controlplane.cli.terminal import write_json


@click.command("result")
@click.argument("node_id")
@click.option("--audience", required=True, help="The relying party, as it names itself.")
@click.option("--nonce", default="", help="What it sent for freshness, base64url, 8 to 64 bytes.")
@remote
def node_result(plane: Remote, node_id: str, audience: str, nonce: str) -> None:
    """Print an attestation result (EAR, a JWT) about the node NODE_ID.

    It ends when the node's evidence does, and is good only together with the node's own key.
    """
    body = {"audience": audience, "nonce": nonce}
    issued = plane.send("POST", f"/v1/nodes/{segment(node_id)}/results", body)
    if plane.as_json:
        write_json(issued)
    else:
        click.echo(issued["token"])
