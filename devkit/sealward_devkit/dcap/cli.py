"""`sealward-devkit dcap`: TDX and SGX evidence under a development root of Intel's shape."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from sealward_devkit import options
from sealward_devkit.clock import system_clock
from sealward_devkit.dcap import boot as boots
from sealward_devkit.dcap import collateral as bundles
from sealward_devkit.dcap import directories
from sealward_devkit.dcap.hierarchy import FMSPC_SIZE
from sealward_devkit.dcap.platform import (
    DEFAULT_FMSPC,
    Tee,
    new_platform,
    new_quoting_enclave,
)
from sealward_devkit.dcap.quote import Shape, mint_quote
from sealward_devkit.dcap.reports import EnclaveReport, TdReport
from sealward_devkit.files import DevelopmentFilesError

if TYPE_CHECKING:
    from pathlib import Path

    from sealward_devkit.dcap.platform import Platform

_TEES: Final = {tee.id.lower(): tee for tee in Tee}
_SHAPES: Final = {shape.name.lower().replace("_", "-"): shape for shape in Shape}
_FMSPC: Final = click.option(
    "--fmspc",
    type=options.hex_of(FMSPC_SIZE),
    default=DEFAULT_FMSPC.hex(),
    show_default=True,
    help="Which type of platform, 12 digits.",
)


@click.group()
def dcap() -> None:
    """TDX and SGX: roots, machines, collateral, quotes."""


@dcap.command("root")
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


@dcap.command("platform")
@click.argument("out", type=options.NEW_DIRECTORY)
@options.ROOT
@_FMSPC
@options.JSON
def platform(*, out: Path, root_directory: Path, fmspc: bytes, as_json: bool) -> None:
    """Make a machine in the new directory OUT and print its platform_id."""
    try:
        hierarchy = directories.load_root(root_directory)
        made = new_platform(hierarchy, secrets.token_bytes, fmspc=fmspc)
        directories.save_platform(made, out)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    shown = {"platform_id": made.platform_id, "fmspc": fmspc.hex(), "directory": str(out)}
    options.answer(shown, "platform_id", as_json=as_json)


@dcap.command("collateral")
@click.argument("out", type=options.NEW_FILE)
@options.ROOT
@_FMSPC
@click.option("--tee", type=click.Choice(sorted(_TEES)), default="tdx", show_default=True)
@click.option(
    "--issued",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]),
    help="When it was issued; that of the root unless given.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 365),
    default=bundles.LIFE.days,
    show_default=True,
    help="Days until its next update.",
)
@click.option(
    "--evaluation-number",
    type=click.IntRange(0, 2**31 - 1),
    default=bundles.EVALUATION_NUMBER,
    show_default=True,
    help="Number of this generation.",
)
@click.option(
    "--status",
    default=bundles.UP_TO_DATE,
    show_default=True,
    help="What the level of machines made here is called; another than UpToDate puts one above it.",
)
@click.option("--advisory", "advisories", multiple=True, help="That this level is subject to.")
@options.JSON
def collateral(
    *,
    out: Path,
    root_directory: Path,
    fmspc: bytes,
    tee: str,
    issued: datetime | None,
    days: int,
    evaluation_number: int,
    status: str,
    advisories: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a bundle that judges quotes of an FMSPC to OUT, for `sealward collateral import`."""
    try:
        hierarchy = directories.load_root(root_directory)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    began = hierarchy.validity.not_before if issued is None else issued.replace(tzinfo=UTC)
    ends = began + timedelta(days=days)
    info = replace(
        bundles.judging(bundles.current_tcb_info(_TEES[tee], began), status, advisories),
        fmspc=fmspc,
        next_update=ends,
        evaluation_number=evaluation_number,
    )
    identity = replace(
        bundles.current_qe_identity(_TEES[tee], began),
        next_update=ends,
        evaluation_number=evaluation_number,
    )
    made = bundles.mint_collateral(hierarchy, info, identity)
    options.write(out, made.to_json().encode())
    shown = {"collateral": str(out), "next_update": options.instant(ends)}
    options.answer(shown, "collateral", as_json=as_json)


@dcap.command("boot")
@click.argument("image")
@click.argument("log", type=options.NEW_FILE)
@options.JSON
def boot(*, image: str, log: Path, as_json: bool) -> None:
    """Print the registers of a boot of the development IMAGE, and write its event log to LOG."""
    options.write(log, boots.ccel(image))
    shown: dict[str, object] = {"mr_td": boots.mr_td().hex(), "event_log": str(log)}
    for number, value in enumerate(boots.registers(image)):
        shown[f"rtmr{number}"] = value.hex()
    options.answer(shown, "mr_td", as_json=as_json)


@dcap.command("reference")
@click.argument("image")
@click.option("--name", help="Of the reference set; that of the image unless given.")
@options.JSON
def reference(*, image: str, name: str | None, as_json: bool) -> None:
    """Print the reference set of a boot of the development IMAGE, to be imported."""
    del as_json  # the set is JSON either way
    options.reference_set(name or image, boots.reference_values(image))


@dcap.command("quote")
@click.argument("out", type=options.NEW_FILE)
@click.option("--platform", "platform_directory", type=options.DIRECTORY, required=True)
@click.option("--shape", type=click.Choice(list(_SHAPES)), default="tdx-5-td15", show_default=True)
@click.option("--image", default="image", show_default=True, help="Development image that runs.")
@click.option(
    "--report-data", type=options.hex_of(64), required=True, help="report_data, 128 digits."
)
@options.JSON
def quote(
    *,
    out: Path,
    platform_directory: Path,
    shape: str,
    image: str,
    report_data: bytes,
    as_json: bool,
) -> None:
    """Write a signed quote of a development image to OUT."""
    chosen = _SHAPES[shape]
    try:
        machine = directories.load_platform(platform_directory)
    except DevelopmentFilesError as error:
        raise click.ClickException(str(error)) from error
    report = _report(chosen, machine, image, report_data)
    enclave = new_quoting_enclave(chosen.tee, secrets.token_bytes)
    options.write(out, mint_quote(chosen, report, machine, enclave))
    options.answer({"quote": str(out)}, "quote", as_json=as_json)


def _report(
    shape: Shape, machine: Platform, image: str, report_data: bytes
) -> TdReport | EnclaveReport:
    if shape.tee is Tee.SGX:
        return EnclaveReport(
            cpu_svn=machine.facts.cpu_svn,
            mr_enclave=boots.enclave_digest("enclave", image),
            mr_signer=boots.enclave_digest("signer", ""),
            report_data=report_data,
        )
    return boots.td_report(image, report_data=report_data)
