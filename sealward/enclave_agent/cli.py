"""`sealward-agent`: run a node's agent, see what a machine can prove, ask a running agent.

Exit status: 0 done, 1 could not (the reason is on stderr), 2 wrong usage or settings.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import ssl
from pathlib import Path
from typing import Final, NoReturn

import click
import httpx

import sealward
from sealward import telemetry
from sealward.enclave_agent import bootstrap, config, hardening, status
from sealward.enclave_agent import probe as probing
from sealward.enclave_agent.attesters import registry
from sealward.enclave_agent.attesters.port import Attester, AttesterUnavailable
from sealward.enclave_agent.clock import ClockInDoubt, clock_source
from sealward.enclave_agent.config import AgentSettings, ConfigurationError, Listen
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

MAX_STATUS: Final = 1 << 20
STATUS_TIMEOUT_S: Final = 5.0
_FAILED: Final = 1
_MISCONFIGURED: Final = 2

_config_option = click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings of the agent (TOML).",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(sealward.__version__, prog_name="sealward-agent")
def main() -> None:
    """Attest this machine, hold leases, run sealed models."""


@main.command()
@_config_option
@click.option("--json/--text", "as_json", default=None, help="Form of the log lines on stderr.")
def run(config_path: Path, *, as_json: bool | None) -> None:
    """Run the agent until SIGTERM or SIGINT; then wipe, say so, and exit."""
    settings = _settings(config_path)
    telemetry.configure(
        as_json=settings.log_json if as_json is None else as_json, level=settings.log_level
    )
    applied = hardening.harden()  # before any key exists
    try:
        trust = config.load_trust(settings.trust_file)
        token = config.load_join_token(settings.join_token_file) if settings.join_token_file else ""
    except ConfigurationError as error:
        _misconfigured(error)
    attester = _attester(settings)

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await bootstrap.run(
            lambda join_token: bootstrap.build(
                settings, trust=trust, attester=attester, join_token=join_token, hardening=applied
            ),
            stop,
            join_token=token,
            pauses=bootstrap.instance_pauses(),
        )

    try:
        asyncio.run(serve())
    except ClockInDoubt as error:
        _fail(f"{error}. Every lease was ended and wiped; start the agent anew.")
    except OSError as error:  # ssl.SSLError is one
        _fail(f"cannot serve inference on {settings.listen.host}:{settings.listen.port}: {error}")


@main.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Probe the attester that these settings name; without it, every installed one.",
)
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
def probe(config_path: Path | None, *, as_json: bool) -> None:
    """Say what this machine can prove, what it cannot, and what to switch on.

    Exit status 1 when the attester of the given settings cannot be used here.
    """
    if config_path is None:
        proofs = probing.installed()
    else:
        proofs = (probing.of(_attester(_settings(config_path))),)
    report = probing.report(
        proofs,
        clock_source=clock_source(),
        hardening=hardening.harden(),  # of this process, which ends right after
        swaps=probing.read_swaps(),
    )
    if as_json:
        click.echo(json.canonical(report.json()).decode())
    else:
        click.echo("\n".join(report.lines()))
    if config_path is not None and not proofs[0].available:
        raise SystemExit(_FAILED)


@main.command(name="status")
@_config_option
@click.option("--json", "as_json", is_flag=True, help="The whole status as JSON.")
def show_status(config_path: Path, *, as_json: bool) -> None:
    """Ask the agent that runs with these settings on this machine."""
    snapshot, text = _ask(_settings(config_path).listen)
    if as_json:
        click.echo(text)
        return
    for name in ("state", "connected", "node", "trust_domain", "attester", "clock_source"):
        click.echo(f"{name:<14} {_plain(snapshot.get(name))}")
    for name in ("last_absence", "leases", "models"):
        value = snapshot.get(name)
        for row in value if isinstance(value, list) else [value]:
            fields = row.items() if isinstance(row, dict) else ()
            line = "  ".join(f"{key}={_plain(said)}" for key, said in fields)
            if line:
                click.echo(f"{name:<14} {line}")


def _ask(listen: Listen) -> tuple[dict[str, json.Value], str]:
    if listen.port == 0:
        _fail("the settings leave the port to the kernel; see the agent's log for it")
    host = f"[{listen.host}]" if ipaddress.ip_address(listen.host).version == 6 else listen.host  # noqa: PLR2004 - IP version
    scheme, verify = "http", ssl.create_default_context()
    if listen.certificate is not None:
        # The agent's own certificate file is what is trusted; its names are those of clients.
        scheme, verify = "https", ssl.create_default_context(cafile=str(listen.certificate))
        verify.check_hostname = False
    try:
        with httpx.Client(verify=verify, timeout=STATUS_TIMEOUT_S, trust_env=False) as client:
            response = client.get(f"{scheme}://{host}:{listen.port}{status.PATH}")
        value = json.decode(response.content, what="status", max_bytes=MAX_STATUS)
    except (httpx.HTTPError, MalformedEvidence) as error:
        _fail(f"no agent answers on {host}:{listen.port}: {error}")
    if response.status_code != httpx.codes.OK or not isinstance(value, dict):
        _fail(f"{host}:{listen.port} is not an agent that can be asked from this machine")
    return value, response.text


def _settings(path: Path) -> AgentSettings:
    try:
        return config.load(path)
    except ConfigurationError as error:
        _misconfigured(error)


def _attester(settings: AgentSettings) -> Attester:
    try:
        return registry.load(settings.attester, settings.attester_table)
    except AttesterUnavailable as error:
        _fail(str(error))


def _plain(value: object) -> str:
    return ascii(value)[1:-1] if isinstance(value, str) else str(value)


def _misconfigured(error: ConfigurationError) -> NoReturn:
    for problem in error.problems:
        click.echo(f"sealward-agent: {problem}", err=True)
    raise SystemExit(_MISCONFIGURED)


def _fail(message: str) -> NoReturn:
    click.echo(f"sealward-agent: {message}", err=True)
    raise SystemExit(_FAILED)
