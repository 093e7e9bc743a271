"""The remote half of `sealward model`: register, list, withdraw, and who ever held a key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.remote import Remote, remote, segment
from sealward.controlplane.cli.terminal import Failure
from sealward.sealing.errors import SealedModelError
from sealward.sealing.header import PREFIX_BYTES, Prefix, SealedHeader

_MODEL: Final = {
    "workload": "workload",
    "name": "model",
    "version": "version",
    "state": "state",
    "content_key_id": "content key",
    "registered": "registered",
}
_EXPOSURE: Final = {
    "lease_id": "lease",
    "node_id": "node",
    "state": "state",
    "granted": "granted",
    "horizon": "horizon",
    "ended": "ended",
    "end_cause": "cause",
    "exposed": "exposure",
}
_MODEL_NAME: Final = re.compile(r"(?P<workload>[^/@]+)/(?P<name>[^/@]+)@(?P<version>[0-9]{1,10})")
_MODEL_FORM: Final = "WORKLOAD/NAME@VERSION"
_WHOLE: Final = "give a whole sealed model, or its registration"


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@remote
def register(plane: Remote, file: Path) -> None:
    """Register the sealed model in FILE. Only its header is sent; the body stays where it is."""
    registration = _registration(file)
    try:
        workload = SealedHeader.parse(registration).core.workload
    except SealedModelError as error:
        raise Failure(f"{file}: {error.detail}", error.hint or _WHOLE) from None
    made = plane.upload(
        f"/v1/workloads/{segment(workload)}/models", registration, "application/octet-stream"
    )
    plane.show(made, _MODEL)


@click.command("list")
@click.argument("workload")
@remote
def list_models(plane: Remote, workload: str) -> None:
    """List the model versions of WORKLOAD."""
    plane.show_list(plane.items(f"/v1/workloads/{segment(workload)}/models"), _MODEL)


@click.command()
@click.argument("model", metavar=_MODEL_FORM)
@click.option("--reason", required=True, help="Why, for the audit log.")
@remote
def withdraw(plane: Remote, model: str, reason: str) -> None:
    """Grant a model version to nobody from now on; leases that carry it end."""
    plane.show(plane.send("POST", f"{_path(model)}/withdraw", {"reason": reason}), _MODEL)


@click.command(short_help="List every lease that ever carried a model's key.")
@click.argument("model", metavar=_MODEL_FORM)
@remote
def exposure(plane: Remote, model: str) -> None:
    """List every lease that ever carried the content key of a model version."""
    items = plane.items(f"{_path(model)}/exposure")
    if not plane.as_json:
        items = ({**item, "exposed": described(item["exposure"])} for item in items)
    plane.show_list(items, _EXPOSURE)


def described(exposed: dict[str, str | None]) -> str:
    """Return an exposure in a few words."""
    detail = exposed.get("until") or exposed.get("reason")
    return f"{exposed['state']}({detail})" if detail else str(exposed["state"])


def _registration(file: Path) -> bytes:
    """Return prefix, header and digest list of a sealed file, or of a registration file."""
    with file.open("rb") as opened:
        head = opened.read(PREFIX_BYTES)
        try:
            return head + opened.read(Prefix.parse(head).total_bytes - PREFIX_BYTES)
        except SealedModelError as error:
            raise Failure(f"{file}: {error.detail}", error.hint or _WHOLE) from None


def _path(model: str) -> str:
    match = _MODEL_NAME.fullmatch(model)
    if match is None:
        raise click.UsageError(f"{model!r} is not {_MODEL_FORM}")
    return (
        f"/v1/workloads/{segment(match['workload'])}/models/{segment(match['name'])}"
        f"/versions/{match['version']}"
    )
