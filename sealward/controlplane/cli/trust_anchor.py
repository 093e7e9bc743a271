"""`sealward trust-anchor`: whose TPM endorsement keys the tenant believes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.remote import Item, Remote, remote, segment
from sealward.controlplane.cli.terminal import Failure, write_json
from sealward.verifier.pki.certificate import MAX_CERTIFICATE_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import pem

_ANCHOR: Final = {
    "fingerprint": "fingerprint",
    "role": "role",
    "name": "name",
    "subject": "subject",
    "not_after": "not after",
    "development": "development",
    "added_by": "by",
    "added": "added",
    "removed": "removed",
}
_MAX_FILE: Final = pem.MAX_BLOCKS * 2 * MAX_CERTIFICATE_BYTES  # base64 and its lines


@click.group("trust-anchor")
def trust_anchor() -> None:
    """Say which CAs vouch for the TPMs of your fleet."""


@trust_anchor.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--name", default="", help="For the next reader [default: each one's subject].")
@click.option(
    "--development",
    is_flag=True,
    help="They prove nothing about hardware: the CA of a software TPM.",
)
@remote
def add(plane: Remote, files: tuple[Path, ...], name: str, *, development: bool) -> None:
    """Trust the CA certificates in FILE... (DER or PEM): roots, and intermediates below them."""
    certificates = [certificate for file in files for certificate in _certificates(file)]
    added = [_add(plane, each, name, development=development) for each in certificates]
    if plane.as_json:
        write_json(added)
    else:
        plane.show_list(iter(added), _ANCHOR)


@trust_anchor.command("list")
@remote
def list_anchors(plane: Remote) -> None:
    """List trust anchors, those that were removed included."""
    plane.show_list(plane.items("/v1/trust-anchors"), _ANCHOR)


@trust_anchor.command()
@click.argument("fingerprint")
@click.option("--reason", required=True, help="Why, for the audit log.")
@remote
def remove(plane: Remote, fingerprint: str, reason: str) -> None:
    """Trust a CA no more: nodes whose TPM chains to FINGERPRINT lose their leases."""
    path = f"/v1/trust-anchors/{segment(fingerprint)}/remove"
    plane.show(plane.send("POST", path, {"reason": reason}), _ANCHOR)


def _add(plane: Remote, certificate: bytes, name: str, *, development: bool) -> Item:
    return plane.upload(
        "/v1/trust-anchors",
        certificate,
        "application/pkix-cert",
        name=name,
        development=development,
    )


def _certificates(file: Path) -> tuple[bytes, ...]:
    """Return the DER of every certificate in a file; whether it is one is the server's to say."""
    with file.open("rb") as opened:
        data = opened.read(_MAX_FILE + 1)
    if not pem.looks_like(data):
        return (data,)
    try:
        return pem.decode(data, what=file.name, max_bytes=_MAX_FILE)
    except MalformedEvidence as error:
        raise Failure(
            error.detail, "give certificates as DER or PEM, nothing beside them"
        ) from None
