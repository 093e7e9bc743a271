"""`sealward result-key`: the keys that sign attestation results."""

from __future__ import annotations

import click

from sealward.controlplane.cli.remote import Remote, remote


@click.group("result-key")
def result_key() -> None:
    """See and replace the keys that sign attestation results."""


@result_key.command()
@remote
def show(plane: Remote) -> None:
    """Print the JWK set that relying parties check results with."""
    click.echo(plane.download("/v1/result-keys"))


@result_key.command()
@click.option("--revoke", is_flag=True, help="Drop older keys now, and all that they signed.")
@remote
def rotate(plane: Remote, *, revoke: bool) -> None:
    """Begin to sign with a fresh key; the one before it stays in the set for an hour."""
    click.echo(plane.call("POST", "/v1/result-keys/rotate", json={"revoke": revoke}).content)
