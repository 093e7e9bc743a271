"""`sealward trust`: the trust configuration that agents must hold, measured."""

from __future__ import annotations

from pathlib import Path

import click

from sealward.controlplane.cli.remote import Remote, remote
from sealward.controlplane.cli.terminal import Failure, write_fields, write_json
from sealward.protos.trust import TrustConfiguration
from sealward.verifier.rats.errors import MalformedEvidence


@click.group()
def trust() -> None:
    """Fetch what agents must trust."""


@trust.command()
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File to write."
)
@remote
def show(plane: Remote, output: Path | None) -> None:
    """Show the trust configuration and its digest, and write it to a file with -o."""
    document = plane.download("/v1/trust-configuration")
    try:
        configuration = TrustConfiguration.decode(document)
    except MalformedEvidence as error:
        raise Failure(f"the server's trust configuration is not one: {error.detail}") from None
    if output is not None:
        output.write_bytes(document)  # byte for byte: its digest is what the launch measures
    told = {
        "trust_domain": configuration.trust_domain,
        "tenant": configuration.tenant,
        "development": configuration.development,
        "digest": configuration.digest().hex(),
        "file": None if output is None else str(output),
    }
    if plane.as_json:
        write_json(told)
    else:
        write_fields(told.items())
