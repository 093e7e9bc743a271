"""`sealward collateral`: what vendors publish about the hardware, and what ends when."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.collateral_forecast import forecast
from sealward.controlplane.cli.remote import Item, Remote, remote, segment
from sealward.controlplane.cli.terminal import Failure, write_json

_MEDIA_TYPE: Final = "application/octet-stream"
_MAX_FILE: Final = 16 << 20  # an archive; the server refuses more
_PIECE: Final = {
    "kind": "kind",
    "name": "name",
    "number": "number",
    "issued": "issued",
    "next_update": "next update",
    "state": "state",
    "expired": "expired",
    "source": "from",
    "digest": "digest",
}
_SHOWN: Final = _PIECE | {"signer": "signer", "development": "development", "accepted": "accepted"}
_RESULT: Final = {
    "outcome": "outcome",
    "kind": "kind",
    "name": "name",
    "digest": "digest",
    "detail": "detail",
}


@click.group()
def collateral() -> None:
    """Keep what vendors publish beside evidence: endorsement keys, lists, TCB infos, manifests."""


collateral.add_command(forecast)


@collateral.command("import")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--as",
    "named",
    metavar="KIND:NAME",
    help="What FILE is, where its bytes do not say it all (a VLEK's CRL, a VBIOS manifest).",
)
@remote
def import_files(plane: Remote, files: tuple[Path, ...], named: str | None) -> None:
    """Import FILE...: as its vendor publishes it, a QuoteCollateralV3 bundle, or an archive.

    Everything is verified before it is kept, and nothing older than what was accepted before is.
    """
    if named is not None and len(files) > 1:
        raise click.UsageError("--as names one file")
    results = [result for file in files for result in _import(plane, file, named)]
    if plane.as_json:
        write_json(results)
    else:
        plane.show_list(iter(results), _RESULT)
    refused = [result for result in results if result.get("outcome") == "refused"]
    if refused:
        raise Failure(
            f"{len(refused)} of {len(results)} pieces were refused: {refused[0].get('detail')}",
            "give what the vendor publishes today: a floor is never lowered",
        )


@collateral.command()
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@remote
def export(plane: Remote, output: Path) -> None:
    """Write everything that is current and in date to OUTPUT, for `collateral import` elsewhere."""
    data = plane.download("/v1/collateral/archive")
    output.write_bytes(data)
    plane.show(
        {"archive": str(output), "bytes": len(data)}, {"archive": "archive", "bytes": "bytes"}
    )


@collateral.command("list")
@click.option("--kind", help="Only of this kind, for example intel-tcb-info.")
@click.option("--all", "everything", is_flag=True, help="Superseded pieces too.")
@remote
def list_pieces(plane: Remote, kind: str | None, *, everything: bool) -> None:
    """List what is held."""
    state = None if everything else "current"
    plane.show_list(plane.items("/v1/collateral", kind=kind, state=state), _PIECE)


@collateral.command()
@click.argument("digest")
@remote
def show(plane: Remote, digest: str) -> None:
    """Show one piece and the floor of its key; its bytes with --json."""
    found = plane.get(f"/v1/collateral/{segment(digest)}")
    if not plane.as_json:
        floor = found.get("floor") or {}
        found |= {"floor_number": floor.get("number"), "floor_issued": floor.get("issued")}
    plane.show(found, _SHOWN | {"floor_number": "floor, number", "floor_issued": "floor, issued"})


def _import(plane: Remote, file: Path, named: str | None) -> list[Item]:
    with file.open("rb") as opened:
        data = opened.read(_MAX_FILE + 1)
    answer = plane.upload("/v1/collateral", data, _MEDIA_TYPE, named=named)
    items = answer.get("items")
    return items if isinstance(items, list) else []
