"""`sealward policy`: push revisions, activate them, see what is in force."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealward import policies as shipped_policies
from sealward.controlplane.cli.remote import Item, Remote, remote, segment
from sealward.controlplane.cli.terminal import Failure, printable, write_json
from sealward.controlplane.domain.policies import Layer, PolicyKind, package_root
from sealward.controlplane.domain.policies_bundle import (
    MAX_FILE_BYTES,
    MAX_FILES,
    InvalidBundle,
    bundle_from_files,
)

_REVISION: Final = {
    "digest": "digest",
    "kind": "kind",
    "layer": "layer",
    "name": "name",
    "uploaded_by": "by",
    "uploaded": "uploaded",
}
_ACTIVATION: Final = {
    "kind": "kind",
    "layer": "layer",
    "scope": "scope",
    "mode": "mode",
    "digest": "digest",
    "by": "by",
    "created": "since",
}
_KINDS: Final = click.Choice([str(kind) for kind in PolicyKind])


@click.group()
def policy() -> None:
    """Push policy revisions and activate them."""


@policy.command()
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--shipped", type=_KINDS, help="Push the policy that comes with this release.")
@click.option("--name", help="Name of the revision [default: the folder's, or shipped].")
@remote
def push(plane: Remote, folder: Path | None, shipped: str | None, name: str | None) -> None:
    """Check the bundle in FOLDER and keep it as a revision.

    Its kind and layer are those of the package root that its manifest names.
    """
    if (folder is None) == (shipped is None):
        raise click.UsageError("give either FOLDER or --shipped KIND")
    if folder is not None:
        files, chosen = _read_folder(folder), name or folder.resolve().name
    else:
        files, chosen = shipped_policies.shipped_files(str(shipped)), name or "shipped"
    kind, layer = _place(files)
    body = {
        "kind": str(kind),
        "layer": str(layer),
        "name": chosen,
        "files": {path: data.decode("utf-8") for path, data in files.items()},
    }
    plane.show(plane.send("POST", "/v1/policies", body), _REVISION)


@policy.command()
@click.argument("digest")
@click.option("--scope", help="team/NAME or workload/NAME, for policies of those layers.")
@remote
def activate(plane: Remote, digest: str, scope: str | None) -> None:
    """Let the revision DIGEST decide from now on, in place of the one in force."""
    revision = plane.get(f"/v1/policies/{segment(digest)}")
    place = (revision["kind"], revision["layer"], scope or revision["layer"])
    replaces = next(
        (
            item["activation_id"]
            for item in plane.get("/v1/activations/active")["items"]
            if (item["kind"], item["layer"], item["scope"]) == place and item["mode"] == "enforce"
        ),
        None,
    )
    body = {"digest": digest, "scope": scope, "replaces": replaces}
    plane.show(plane.send("POST", "/v1/activations", body), _ACTIVATION)


@policy.command("list")
@click.option("--active", is_flag=True, help="Only what is in force.")
@remote
def list_policies(plane: Remote, *, active: bool) -> None:
    """List revisions, or the activations in force."""
    if active:
        plane.show_list(iter(plane.get("/v1/activations/active")["items"]), _ACTIVATION)
    else:
        plane.show_list(plane.items("/v1/policies"), _REVISION)


@policy.command()
@click.argument("digest")
@remote
def show(plane: Remote, digest: str) -> None:
    """Show the files of a revision."""
    revision: Item = plane.get(f"/v1/policies/{segment(digest)}")
    if plane.as_json:
        write_json(revision)
        return
    plane.show(revision, _REVISION)
    for path, text in sorted(revision["files"].items()):
        click.echo(f"\n--- {printable(path)}")
        for line in text.splitlines():
            click.echo("    ".join(printable(part) for part in line.split("\t")))


def _read_folder(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder; what does not belong in a bundle is refused by name."""
    files: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if len(files) >= MAX_FILES:
            raise Failure(
                f"{folder} holds more than {MAX_FILES} files", "push a bundle's own folder"
            )
        with path.open("rb") as file:
            files[path.relative_to(folder).as_posix()] = file.read(MAX_FILE_BYTES + 1)
    return files


def _place(files: dict[str, bytes]) -> tuple[PolicyKind, Layer]:
    """Return the kind and layer whose package root the bundle names."""
    try:
        roots = bundle_from_files(files).roots
    except InvalidBundle as error:
        where = f"{error.path}: " if error.path else ""
        raise Failure(
            f"not a policy bundle: {where}{error.detail}", "correct it and push again"
        ) from None
    for kind in PolicyKind:
        for layer in Layer:
            if roots == (package_root(kind, layer).replace(".", "/"),):
                return kind, layer
    raise Failure(
        f"roots {', '.join(roots)} are not those of one kind and layer",
        "name exactly one root, such as sealward/release or sealward/team/release",
    )
