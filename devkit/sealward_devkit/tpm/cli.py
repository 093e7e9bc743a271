"""`sealward-devkit tpm`: machines with swtpm, their boots and reference values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from sealward_devkit import options
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.tpm import boot, machine

_NEW_DIRECTORY: Final = click.Path(path_type=Path, file_okay=False, resolve_path=True)
_MACHINE: Final = click.Path(path_type=Path, file_okay=False, exists=True, resolve_path=True)
_FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)
_PORT: Final = click.option(
    "--port", type=click.IntRange(1, 65534), required=True, help="Data port; the next is control."
)
_TRUST: Final = click.option(
    "--trust", type=_FILE, required=True, help="The agent's trust configuration."
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_REGISTER: Final = click.IntRange(0, 16)  # what the locality of an operating system may extend


@click.group()
def tpm() -> None:
    """Machines with a TPM (swtpm) and a stand-in for what a boot measures."""


@tpm.command("create")
@click.argument("out", type=_NEW_DIRECTORY)
@click.option("--ca", type=_NEW_DIRECTORY, required=True, help="Local CA, made at its first use.")
@_JSON
def create(*, out: Path, ca: Path, as_json: bool) -> None:
    """Make a TPM in the new directory OUT and print its platform_id."""
    try:
        platform_id = machine.create(out, ca)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    answer = {
        "platform_id": platform_id,
        "directory": str(out),
        "root": str(ca / machine.ROOT),
        "issuer": str(ca / machine.ISSUER),
    }
    click.echo(json.dumps(answer, indent=2) if as_json else platform_id)


@tpm.command("platform")
@click.argument("directory", type=_MACHINE)
@_JSON
def platform(*, directory: Path, as_json: bool) -> None:
    """Print the platform_id of the TPM of DIRECTORY."""
    try:
        platform_id = machine.platform_id(directory)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps({"platform_id": platform_id}) if as_json else platform_id)


@tpm.command("run")
@click.argument("directory", type=_MACHINE)
@_PORT
def run(*, directory: Path, port: int) -> None:
    """Be the TPM of DIRECTORY until ended."""
    try:
        machine.become(directory, port)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error


@tpm.command("boot")
@click.argument("directory", type=_MACHINE)
@click.argument("image")
@_PORT
@_TRUST
@_JSON
def boot_image(*, directory: Path, image: str, port: int, trust: Path, as_json: bool) -> None:
    """Measure a boot of the development IMAGE into the running TPM; the log goes to DIRECTORY."""
    try:
        events = boot.boot(image, trust.read_bytes())
        machine.measure(port, events)
        log = directory / machine.EVENT_LOG
        log.write_bytes(boot.event_log(events))
    except OSError as error:
        raise click.ClickException(f"cannot write the event log: {error.strerror}") from error
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    answer = {"event_log": str(log), "events": len(events)}
    click.echo(json.dumps(answer, indent=2) if as_json else str(log))


@tpm.command("extend")
@click.argument("text")
@_PORT
@click.option("--pcr", type=_REGISTER, required=True, help="Register, 0 to 16.")
@_JSON
def extend(*, text: str, port: int, pcr: int, as_json: bool) -> None:
    """Extend one register of the running TPM with the hash of TEXT, as running software can."""
    data = text.encode()
    try:
        machine.measure(port, (boot.Measured(pcr, 0, data, data),))
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps({"pcr": pcr}) if as_json else f"PCR {pcr} extended")


@tpm.command("reference")
@click.argument("image")
@_TRUST
@click.option("--name", help="Of the reference set; that of the image unless given.")
@_JSON
def reference(*, image: str, trust: Path, name: str | None, as_json: bool) -> None:
    """Print the reference set of a boot of the development IMAGE, to be imported."""
    del as_json  # the set is JSON either way
    options.reference_set(name or image, boot.reference_values(image, trust.read_bytes()))
