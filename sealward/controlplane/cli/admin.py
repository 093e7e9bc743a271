"""`sealward admin`: the first administrator, and the principals after it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli import credentials as credential_files
from sealward.controlplane.cli.credentials import Credentials
from sealward.controlplane.cli.remote import Remote, connect, read_ca, remote, segment
from sealward.controlplane.cli.terminal import write_fields, write_json
from sealward.controlplane.domain.principals import Role

_DAY: Final = 86_400  # seconds
_PRINCIPAL: Final = {
    "principal_id": "id",
    "name": "name",
    "roles": "roles",
    "created": "created",
    "disabled": "disabled",
}
_TOKEN: Final = {
    "token_id": "id",
    "principal_id": "principal",
    "created": "created",
    "expires": "expires",
    "revoked": "revoked",
}


@click.group()
def admin() -> None:
    """Create administrators and other principals."""


@admin.command()
@click.option(
    "--credential",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The one-time file that the first start of the control plane wrote.",
)
@click.option("--name", required=True, help="Name of the first administrator.")
@click.option("--server", required=True, envvar="SEALWARD_SERVER", help="https://HOST:PORT.")
@click.option(
    "--ca",
    required=True,
    envvar="SEALWARD_CA",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PEM file of the root that vouches for the server.",
)
@click.option(
    "--credentials",
    envvar="SEALWARD_CREDENTIALS",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write [default: ~/.config/sealward/credentials.json].",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bootstrap(
    *,
    credential: Path,
    name: str,
    server: str,
    ca: Path,
    credentials: Path | None,
    as_json: bool,
) -> None:
    """Spend the bootstrap credential: create the first administrator and its credentials file."""
    path = credentials or credential_files.default_path()
    once = credential_files.read_private(credential, "bootstrap credential").strip()
    root = read_ca(ca)

    def obtain() -> Credentials:
        with connect(server, root, once, as_json=as_json) as plane:
            issued = plane.send("POST", "/v1/bootstrap", {"name": name})
        return Credentials(server=server, ca=root, token=str(issued["credential"]))

    credential_files.create(path, obtain)
    told = {"name": name, "credentials": str(path)}
    if as_json:
        write_json(told)
    else:
        write_fields(told.items())


@admin.command("list")
@remote
def list_principals(plane: Remote) -> None:
    """List principals."""
    plane.show_list(plane.items("/v1/principals"), _PRINCIPAL)


_days = click.option("--days", default=30, show_default=True, help="Lifetime of the token.")
_output = click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Credentials file to write for the principal, 0600.",
)


@admin.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice([str(r) for r in Role]),
    help="What it may do; repeatable.",
)
@_days
@_output
@remote
def create(plane: Remote, name: str, roles: tuple[str, ...], days: int, output: Path) -> None:
    """Create a principal and write its credentials file."""
    body = {"name": name, "roles": list(roles), "lifetime_seconds": days * _DAY}
    _issue(plane, "/v1/principals", body, output)


@admin.command()
@click.argument("principal_id")
@_days
@_output
@remote
def token(plane: Remote, principal_id: str, days: int, output: Path) -> None:
    """Make a further token for a principal, oneself included, before the last one runs out."""
    path = f"/v1/principals/{segment(principal_id)}/tokens"
    _issue(plane, path, {"lifetime_seconds": days * _DAY}, output)


def _issue(plane: Remote, path: str, body: dict[str, object], output: Path) -> None:
    made: dict[str, object] = {}

    def obtain() -> Credentials:
        issued = plane.send("POST", path, body)
        made.update(issued["principal"])
        return Credentials(server=plane.server, ca=plane.ca, token=str(issued["credential"]))

    credential_files.create(output, obtain)
    plane.show(made, _PRINCIPAL)


@admin.command()
@click.argument("principal_id")
@remote
def disable(plane: Remote, principal_id: str) -> None:
    """Disable a principal: its tokens stop working at once."""
    plane.show(plane.send("POST", f"/v1/principals/{segment(principal_id)}/disable"), _PRINCIPAL)


@admin.command("tokens")
@remote
def list_tokens(plane: Remote) -> None:
    """List service tokens."""
    plane.show_list(plane.items("/v1/tokens"), _TOKEN)


@admin.command("revoke-token")
@click.argument("token_id")
@remote
def revoke_token(plane: Remote, token_id: str) -> None:
    """Revoke a service token."""
    plane.show(plane.send("POST", f"/v1/tokens/{segment(token_id)}/revoke"), _TOKEN)
