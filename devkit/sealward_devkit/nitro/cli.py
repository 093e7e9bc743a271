"""`sealward-devkit nitro`: attestation documents under a development root of AWS's shape."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from sealward_devkit import options
from sealward_devkit.clock import system_clock
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.nitro import directories
from sealward_devkit.nitro import image as images
from sealward_devkit.nitro.document import Request, mint_document, start_enclave
from sealward_devkit.nitro.hierarchy import new_instance, new_module_id

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def nitro() -> None:
    """AWS Nitro: roots, parent instances, images, documents."""


@nitro.command("root")
@click.argument("directory", type=options.NEW_DIRECTORY)
@options.DAYS
@options.JSON
def root(*, directory: Path, days: int, as_json: bool) -> None:
    """Make a development root in the new DIRECTORY."""
    now, life = system_clock(), timedelta(days=days)
    try:
        directories.create_root(directory, now, life=life)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    anchors = str(directory / directories.ANCHORS)
    shown = {"anchors": anchors, "not_after": options.instant(now + life)}
    options.answer(shown, "anchors", as_json=as_json)


@nitro.command("platform")
@click.argument("out", type=options.NEW_DIRECTORY)
@options.ROOT
@options.JSON
def platform(*, out: Path, root_directory: Path, as_json: bool) -> None:
    """Make a parent instance in the new directory OUT and print its platform_id."""
    try:
        made = new_instance(directories.load_root(root_directory), secrets.token_bytes)
        directories.save_instance(made, out)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    shown = {"platform_id": made.platform_id, "directory": str(out)}
    options.answer(shown, "platform_id", as_json=as_json)


@nitro.command("image")
@click.argument("image")
@click.option(
    "--trust", type=options.FILE, required=True, help="The agent's trust configuration in it."
)
@options.JSON
def image_measured(*, image: str, trust: Path, as_json: bool) -> None:
    """Print PCR 0 to 2 of the development IMAGE."""
    measured = images.measure(image, trust.read_bytes())
    shown = {f"pcr{index}": value.hex() for index, value in measured.items()}
    options.answer(shown, "pcr0", as_json=as_json)


@nitro.command("reference")
@click.argument("image")
@click.option(
    "--trust", type=options.FILE, required=True, help="The agent's trust configuration in it."
)
@click.option("--name", help="Of the reference set; that of the image unless given.")
@options.JSON
def reference(*, image: str, trust: Path, name: str | None, as_json: bool) -> None:
    """Print the reference set of the development IMAGE, to be imported."""
    del as_json  # the set is JSON either way
    options.reference_set(name or image, images.reference_values(image, trust.read_bytes()))


@nitro.command("document")
@click.argument("out", type=options.NEW_FILE)
@click.option("--platform", "platform_directory", type=options.DIRECTORY, required=True)
@click.option("--image", default="image", show_default=True, help="Development image that runs.")
@click.option("--trust", type=options.FILE, required=True, help="Trust configuration in it.")
@click.option("--user-data", type=options.hex_of(64), required=True, help="user_data, 128 digits.")
@options.JSON
def document(
    *,
    out: Path,
    platform_directory: Path,
    image: str,
    trust: Path,
    user_data: bytes,
    as_json: bool,
) -> None:
    """Write the document of a new enclave with a development image to OUT."""
    try:
        parent = directories.load_instance(platform_directory)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    now, module_id = system_clock(), new_module_id(parent, secrets.token_bytes)
    pcrs = images.measure(image, trust.read_bytes()) | images.of_parent(parent.instance_id)
    running = start_enclave(parent, module_id, tuple(pcrs.items()), now, secrets.token_bytes)
    options.write(out, mint_document(running, Request(user_data=user_data), now))
    shown = {"document": str(out), "module_id": module_id}
    options.answer(shown, "document", as_json=as_json)
