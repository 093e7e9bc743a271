"""`sealward trust-anchor`: whose TPMs the tenant believes, and the keys of its Arm instances."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.remote import Remote, remote, segment
from sealward.controlplane.cli.terminal import Failure, write_json
from sealward.verifier.pki import instance_keys
from sealward.verifier.pki.certificate import MAX_CERTIFICATE_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import pem

_PATH: Final = "/v1/trust-anchors"
_ANCHOR: Final = {
    "kind": "kind",
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
_TPM: Final = "tpm-ek"
_KINDS: Final = (_TPM, "cca-key", "psa-key")
_MAX_FILE: Final = pem.MAX_BLOCKS * 2 * MAX_CERTIFICATE_BYTES  # base64 and its lines


@click.group("trust-anchor")
def trust_anchor() -> None:
    """Say which CAs vouch for your TPMs, and which keys your Arm machines sign with."""


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
@click.option(
    "--kind",
    type=click.Choice(_KINDS),
    default=_TPM,
    show_default=True,
    help="CAs of TPMs, or the public key of an Arm CCA platform or PSA device.",
)
@click.option("--instance-id", metavar="HEX", help="Whose key it is: 33 bytes, as tokens say it.")
@click.option(
    "--implementation-id", metavar="HEX", help="Of its hardware: 32 bytes [default: any]."
)
@remote
def add(
    plane: Remote,
    files: tuple[Path, ...],
    name: str,
    *,
    development: bool,
    kind: str,
    instance_id: str | None,
    implementation_id: str | None,
) -> None:
    """Trust the CA certificates in FILE... (DER or PEM): roots, and intermediates below them.

    With --kind cca-key or psa-key, trust the one public key in FILE (PEM) as that of --instance-id.
    Secrets of devices whose tokens carry a MAC are not taken.
    """
    said = {"kind": kind, "name": name, "development": development}
    said |= {"instance_id": instance_id, "implementation_id": implementation_id}
    if kind == _TPM:
        pieces = [certificate for file in files for certificate in _certificates(file)]
    elif len(files) == 1 and instance_id is not None:
        pieces = [_public_key(files[0])]
    else:
        raise click.UsageError(f"--kind {kind} takes one FILE and its --instance-id")
    added = [plane.upload(_PATH, each, "application/octet-stream", **said) for each in pieces]
    if plane.as_json:
        write_json(added)
    else:
        plane.show_list(iter(added), _ANCHOR)


@trust_anchor.command("list")
@remote
def list_anchors(plane: Remote) -> None:
    """List trust anchors, those that were removed included."""
    plane.show_list(plane.items(_PATH), _ANCHOR)


@trust_anchor.command()
@click.argument("fingerprint")
@click.option("--reason", required=True, help="Why, for the audit log.")
@remote
def remove(plane: Remote, fingerprint: str, reason: str) -> None:
    """Trust an anchor no more: nodes that rest on FINGERPRINT lose their leases."""
    path = f"{_PATH}/{segment(fingerprint)}/remove"
    plane.show(plane.send("POST", path, {"reason": reason}), _ANCHOR)


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


def _public_key(file: Path) -> bytes:
    """Return the DER of a file with one PEM public key; anything else stays on this machine."""
    with file.open("rb") as opened:
        data = opened.read(instance_keys.MAX_FILE_BYTES + 1)
    try:
        return instance_keys.from_pem(data)
    except MalformedEvidence as error:
        raise Failure(
            error.detail,
            "give one PEM public key (`openssl pkey -pubout`), never a private key or a secret",
        ) from None
