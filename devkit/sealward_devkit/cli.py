"""The `sealward-devkit` command: roots, platforms and evidence, for SNP here and a group a kind.

Errors are one sentence on standard error with exit status 1; `--json` prints one JSON object.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

import sealward_devkit
from sealward_devkit import options
from sealward_devkit.clock import system_clock
from sealward_devkit.dcap.cli import dcap
from sealward_devkit.directories import (
    ANCHORS_FILE,
    create_root,
    load_platform,
    load_root,
    save_platform,
)
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.guest import (
    HOST_DATA_SIZE,
    MEASUREMENT_SIZE,
    REPORT_ID_SIZE,
    Guest,
    report_of_guest,
)
from sealward_devkit.nitro.cli import nitro
from sealward_devkit.platform import vcek_platform, vlek_platform
from sealward_devkit.snp.products import Product
from sealward_devkit.snp.report import DEFAULT_POLICY, development_measurement
from sealward_devkit.tpm.cli import tpm

if TYPE_CHECKING:
    from pathlib import Path

_PRODUCTS: Final = click.Choice([item.value for item in Product])


@click.group()
@click.version_option(sealward_devkit.__version__, prog_name="sealward-devkit")
def main() -> None:
    """Development only: genuine evidence under a root generated on the spot."""


main.add_command(dcap)
main.add_command(nitro)
main.add_command(tpm)


@main.group()
def root() -> None:
    """Development roots: for each product an ARK with its ASK and ASVK."""


@root.command("create")
@click.argument("directory", type=options.NEW_DIRECTORY)
@options.DAYS
@click.option(
    "--product",
    "products",
    type=_PRODUCTS,
    multiple=True,
    help="Only this product; may be repeated. Default: all.",
)
@options.JSON
def root_create(*, directory: Path, days: int, products: tuple[str, ...], as_json: bool) -> None:
    """Make a development root in the new DIRECTORY."""
    chosen = tuple(Product(name) for name in products) or tuple(Product)
    now, life = system_clock(), timedelta(days=days)
    try:
        create_root(directory, now, life=life, products=chosen)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    expires = options.instant(now + life)
    options.answer(
        {"anchors": str(directory / ANCHORS_FILE), "not_after": expires}, "anchors", as_json=as_json
    )


@main.group()
def platform() -> None:
    """Development platforms: a chip id, a signing key and its certificates."""


@platform.command("create")
@click.argument("out", type=options.NEW_DIRECTORY)
@options.ROOT
@click.option("--product", type=_PRODUCTS, default=Product.MILAN.value, show_default=True)
@click.option("--csp-id", help="Sign by a VLEK that names this provider, instead of a VCEK.")
@options.JSON
def platform_create(
    *, out: Path, root_directory: Path, product: str, csp_id: str | None, as_json: bool
) -> None:
    """Make a platform in the new directory OUT and print its platform_id."""
    try:
        hierarchy = load_root(root_directory, Product(product))
        if csp_id is None:
            made = vcek_platform(hierarchy, secrets.token_bytes)
        else:
            made = vlek_platform(hierarchy, secrets.token_bytes, csp_id=csp_id)
        save_platform(made, out)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    answer = {"platform_id": made.platform_id, "product": product, "directory": str(out)}
    options.answer(answer, "platform_id", as_json=as_json)


@main.command()
@click.argument("name")
@options.JSON
def measurement(*, name: str, as_json: bool) -> None:
    """Print a launch digest for NAME: always the same, of no real image, development only."""
    answer = {"name": name, "measurement": development_measurement(name).hex()}
    options.answer(answer, "measurement", as_json=as_json)


@main.group()
def report() -> None:
    """Attestation reports of a development platform."""


@report.command("mint")
@click.argument("out", type=options.NEW_FILE)
@click.option("--platform", "platform_directory", type=options.DIRECTORY, required=True)
@click.option(
    "--measurement",
    type=options.hex_of(MEASUREMENT_SIZE),
    required=True,
    help="MEASUREMENT, 96 digits.",
)
@click.option(
    "--report-data", type=options.hex_of(64), required=True, help="REPORT_DATA, 128 digits."
)
@click.option(
    "--host-data",
    type=options.hex_of(HOST_DATA_SIZE),
    default="00" * HOST_DATA_SIZE,
    help="HOST_DATA, 64 digits.",
)
@click.option("--policy", type=click.IntRange(0, 2**64 - 1), default=int(DEFAULT_POLICY))
@click.option("--report-version", type=click.IntRange(2, 5), default=5, show_default=True)
@options.JSON
def report_mint(
    *,
    out: Path,
    platform_directory: Path,
    measurement: bytes,
    report_data: bytes,
    host_data: bytes,
    policy: int,
    report_version: int,
    as_json: bool,
) -> None:
    """Write the signed report of a new guest to OUT; the platform holds its certificates."""
    guest = Guest(
        measurement=measurement,
        host_data=host_data,
        policy=policy,
        report_version=report_version,
    )
    report_id = secrets.token_bytes(REPORT_ID_SIZE)
    try:
        minted = report_of_guest(load_platform(platform_directory), guest, report_id, report_data)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    options.write(out, minted)
    options.answer({"report": str(out), "report_id": report_id.hex()}, "report", as_json=as_json)
