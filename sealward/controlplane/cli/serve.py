"""`sealward serve`: one control-plane process."""

from __future__ import annotations

import json
from pathlib import Path

import click
import uvloop

from sealward import telemetry
from sealward.controlplane import server
from sealward.controlplane.bootstrap import ControlPlane, write_bootstrap_credential
from sealward.controlplane.config import (
    Address,
    EngineChoice,
    InvalidSettings,
    Settings,
    collateral_services,
    opa_server,
)
from sealward.controlplane.domain.errors import DomainError
from sealward.controlplane.server import Listening
from sealward.verifier.rats.errors import VerifierError


@click.command(short_help="Run the control plane until told to stop.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of database, keys and certificates; made on first use.",
)
@click.option(
    "--trust-domain",
    required=True,
    help="DNS name of this installation; agents believe it for good.",
)
@click.option(
    "--rest", default="127.0.0.1:8443", show_default=True, help="ADDRESS:PORT of the admin API."
)
@click.option(
    "--enrollment",
    default="127.0.0.1:8444",
    show_default=True,
    help="ADDRESS:PORT where new nodes enrol.",
)
@click.option(
    "--agents", default="127.0.0.1:8445", show_default=True, help="ADDRESS:PORT of enrolled nodes."
)
@click.option(
    "--name",
    "names",
    multiple=True,
    default=("localhost", "127.0.0.1"),
    show_default=True,
    help="DNS name or address in the server certificate; repeatable.",
)
@click.option(
    "--endorsements",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of vendor CA certificates that complete chains which nodes send without them.",
)
@click.option(
    "--policy-engine",
    type=click.Choice([choice.value for choice in EngineChoice]),
    default=EngineChoice.EMBEDDED.value,
    show_default=True,
    help="Where policies are evaluated: in confined processes of ours, or on an OPA server.",
)
@click.option("--opa-url", help="OPA server, such as https://opa.example:8181.")
@click.option(
    "--opa-ca",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="PEM file: the CA that the OPA server's certificate must come from.",
)
@click.option(
    "--opa-certificate",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="PEM file: the certificate to show to the OPA server.",
)
@click.option(
    "--opa-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="PEM file: its private key, not encrypted.",
)
@click.option(
    "--collateral-config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file with a table [collateral]: which vendors' services are asked.",
)
@click.option("--development", is_flag=True, help="Accept development roots; never for production.")
@click.option(
    "--development-root",
    "development_roots",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A development root certificate; repeatable.",
)
@click.option(
    "--development-listen-anywhere",
    is_flag=True,
    help="Let a development installation listen beyond loopback.",
)
@click.option("--json", "as_json", is_flag=True, help="Start-up record and log as JSON.")
@click.option(
    "--log-level",
    type=click.Choice(telemetry.LEVELS),
    default="info",
    show_default=True,
    help="Least severe log lines to write.",
)
def serve(  # noqa: PLR0917 - click passes options by name
    data: Path,
    trust_domain: str,
    rest: str,
    enrollment: str,
    agents: str,
    names: tuple[str, ...],
    endorsements: Path | None,
    policy_engine: str,
    opa_url: str | None,
    opa_ca: Path | None,
    opa_certificate: Path | None,
    opa_key: Path | None,
    collateral_config: Path | None,
    development: bool,  # noqa: FBT001 - click passes options by name
    development_roots: tuple[Path, ...],
    development_listen_anywhere: bool,  # noqa: FBT001 - likewise
    as_json: bool,  # noqa: FBT001 - likewise
    log_level: str,
) -> None:
    """Run the control plane until it is told to stop (SIGTERM, Ctrl-C)."""
    telemetry.configure(as_json=as_json, level=log_level)
    try:
        settings = Settings(
            data=data,
            trust_domain=trust_domain,
            rest=Address.parse(rest),
            enrollment=Address.parse(enrollment),
            agents=Address.parse(agents),
            names=names,
            development=development,
            development_roots=development_roots,
            endorsements=endorsements,
            opa=opa_server(
                EngineChoice(policy_engine),
                opa_url,
                ca=opa_ca,
                certificate=opa_certificate,
                key=opa_key,
            ),
            collateral=None
            if collateral_config is None
            else collateral_services(collateral_config),
        )
        settings.require_servable(listen_anywhere=development_listen_anywhere)
        uvloop.run(
            server.serve(settings, ready=lambda plane, on: _announce(plane, on, as_json=as_json))
        )
    except InvalidSettings as error:
        raise click.UsageError(str(error)) from error
    except DomainError as error:
        raise click.ClickException(f"{error.detail}. {error.hint}".strip()) from error
    except VerifierError as error:
        raise click.ClickException(f"a certificate is refused: {error.detail}") from error
    except OSError as error:
        raise click.ClickException(f"cannot serve: {error}") from error


def _announce(plane: ControlPlane, on: Listening, *, as_json: bool) -> None:
    credential = write_bootstrap_credential(plane)
    record = {
        "trust_domain": plane.settings.trust_domain,
        "development": plane.settings.development,
        "rest": f"https://{on.rest}",
        "enrollment": str(on.enrollment),
        "agents": str(on.agents),
        "trust_config": str(plane.settings.data / "trust.json"),
        "server_root": str(plane.settings.data / "server-root.pem"),
        "bootstrap_credential": None if credential is None else str(credential),
    }
    if as_json:
        click.echo(json.dumps(record))
        return
    kind = "a DEVELOPMENT control plane" if plane.settings.development else "the control plane"
    click.echo(f"Serving {kind} of {record['trust_domain']}")
    for key in ("rest", "enrollment", "agents", "trust_config", "server_root"):
        click.echo(f"  {key:13} {record[key]}")
    if credential is not None:
        click.echo(f"  first, within 24 hours: sealward admin bootstrap --credential {credential}")
