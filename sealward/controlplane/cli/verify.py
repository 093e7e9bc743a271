"""`sealward verify FILE...`: check evidence on this machine, offline, and show what it proves.

Exit status: 0 the evidence holds, 1 it was refused, 2 the command line is wrong. Evidence that
holds may still carry verdicts (debug, a development root): they are printed, and a control plane
would hold them against the node.
"""

from __future__ import annotations

import hmac
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sealward.controlplane.cli.terminal import printable, write_json
from sealward.verifier import registry
from sealward.verifier.composite.tpm_files import Part
from sealward.verifier.composite.tpm_node import Trust
from sealward.verifier.formats.tpm.endorsement import EndorsementRoot
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.claims import Tee
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence, VerifierError

if TYPE_CHECKING:
    from sealward.verifier.rats.claims import Json

_REFUSED: Final = 1
_REPORT_DATA_SIZE: Final = 64
# Kinds whose field for the guest's data has this size whatever is put into it: attesters pad. The
# data of others has a length of its own.
_PADDED: Final = frozenset((Tee.SNP, Tee.TDX, Tee.SGX, Tee.CCA, Tee.HYGON_CSV))
_CALLED: Final = {
    Tee.SNP: "report",
    Tee.HYGON_CSV: "report",
    Tee.TDX: "quote",
    Tee.SGX: "quote",
    Tee.TPM: "quote",
    Tee.GOOGLE_VTPM: "quote",
    Tee.NITRO: "document",
    Tee.CCA: "token",
    Tee.PSA: "token",
}
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


def _instant(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Read an RFC 3339 instant with its offset."""
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter("not an instant as 2026-11-23T00:00:00Z", ctx, param)


def _report_data(ctx: click.Context, param: click.Parameter, value: str | None) -> bytes | None:
    """Read REPORT_DATA in hexadecimal; shorter values are padded with zeros, as attesters do."""
    if value is None:
        return None
    try:
        data = bytes.fromhex(value)
    except ValueError:
        data = b""
    if not 1 <= len(data) <= _REPORT_DATA_SIZE:
        raise click.BadParameter("not 1 to 64 bytes in hexadecimal", ctx, param)
    return data


def _roles(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[Part, Path], ...]:
    """Read ROLE=FILE."""
    found: list[tuple[Part, Path]] = []
    for value in values:
        role, _, file = value.partition("=")
        if role not in tuple(Part) or not Path(file).is_file():
            known = ", ".join(Part)
            raise click.BadParameter(f"not ROLE=FILE with a file and one of: {known}", ctx, param)
        found.append((Part(role), Path(file)))
    return tuple(found)


@click.command()
@click.argument("files", nargs=-1, type=_FILE)
@click.option(
    "--at",
    callback=_instant,
    metavar="INSTANT",
    help="Verify at this instant instead of now (RFC 3339).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--report-data",
    "--nonce",
    callback=_report_data,
    metavar="HEX",
    help="Demand that the evidence binds this: REPORT_DATA (padded with zeros), nonce, user data.",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    callback=_roles,
    metavar="ROLE=FILE",
    help="Name the role of a file that content does not tell, as tpm-pcr-values=FILE.",
)
@click.option(
    "--ek-root",
    "ek_roots",
    multiple=True,
    type=_FILE,
    help="Trust this root of TPM endorsement keys (DER or PEM).",
)
@click.option(
    "--development-root",
    "development_roots",
    multiple=True,
    type=_FILE,
    help="Also trust this development root. Results under it prove nothing about hardware.",
)
def verify(
    files: tuple[Path, ...],
    *,
    at: datetime | None,
    as_json: bool,
    report_data: bytes | None,
    development_roots: tuple[Path, ...],
    roles: tuple[tuple[Part, Path], ...],
    ek_roots: tuple[Path, ...],
) -> None:
    """Verify attestation evidence offline.

    FILES are one piece of evidence with all that belongs to it, in any order: an SEV-SNP report
    and its certificates, a TDX or SGX quote and its collateral, a Nitro document, a CCA or PSA
    token and its maker's public key, a Hygon CSV report and its certificates, an NVIDIA report
    with chain and manifests, the files of an Azure or Google vTPM, a TPM quote with signature, key
    and PCR values, or a Sealward evidence envelope. Roles are recognised by content; where a file
    does not tell, name it with --role.
    docs/verify.md lists what each kind needs.
    """
    if not files and not roles:
        raise click.UsageError("Missing argument 'FILES...'.")
    now = at or datetime.now(UTC)  # noqa: TID251 - this process's edge; nothing below asks a clock
    try:
        items = [item for file in files for item in _recognise(file)]
        items += [registry.in_role(role, _read(file)) for role, file in roles]
        verified = _verify(items, development_roots, ek_roots, now)
        _check_report_data(verified, report_data)
    except VerifierError as error:
        _show_refusal(error, as_json=as_json)
        sys.exit(_REFUSED)
    _show(verified, now, as_json=as_json)


def _verify(
    items: list[registry.Item],
    development_roots: tuple[Path, ...],
    ek_roots: tuple[Path, ...],
    now: datetime,
) -> registry.Verified:
    imported = [item.data for file in development_roots for item in _recognise(file)]
    anchors = TrustAnchors(development_roots=tuple(import_root(data, now=now) for data in imported))
    roots = tuple(EndorsementRoot(item.data) for file in ek_roots for item in _recognise(file))
    context = registry.Context(
        anchors, now, ChainCache(), certificates=tuple(imported), tpm=Trust(roots=roots)
    )
    return registry.authenticate_items(items, context)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(registry.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None


def _recognise(file: Path) -> tuple[registry.Item, ...]:
    data = _read(file)
    try:
        return registry.recognise(data)
    except MalformedEvidence as error:
        raise MalformedEvidence(error.offset, f"{file.name}: {error.what}") from None
    except RefusedEvidence as error:
        detail = f"{file.name}: {error.detail}"
        raise RefusedEvidence(error.code, detail, expected=error.expected) from None


def _check_report_data(verified: registry.Verified, expected: bytes | None) -> None:
    if expected is None:
        return
    actual = verified.claims.report_data
    if verified.claims.tee in _PADDED:
        expected = expected.ljust(_REPORT_DATA_SIZE, b"\0")
    if not hmac.compare_digest(expected.hex(), actual):
        raise RefusedEvidence(
            Code.BINDING_MISMATCH,
            "the evidence is genuine but binds other data than demanded",
            claim="report_data",
            expected=expected.hex(),
            actual=actual,
            hint="ask the attester for evidence over this nonce",
        )


def _show(verified: registry.Verified, now: datetime, *, as_json: bool) -> None:
    document: dict[str, Json] = {
        "verified": True,
        "at": now.isoformat().replace("+00:00", "Z"),
        "claims": verified.claims.to_json(),
        **verified.details(),
    }
    if as_json:
        write_json(document)
        return
    root = " under a DEVELOPMENT root" if verified.claims.development else ""
    thing = _CALLED.get(verified.claims.tee, "evidence")
    click.echo(f"verified at {document['at']}: the {thing} is genuine{root}")
    for verdict in verified.claims.verdicts:
        click.echo(
            f"  but {verdict.code}: {printable(verdict.claim)} is {printable(verdict.actual)},"
            f" not {printable(verdict.expected)}"
        )
    click.echo("")
    rows = [row for row in _rows("", document) if row[0] not in ("verified", "at")]
    width = max(len(path) for path, _ in rows) + 2
    for path, value in rows:
        click.echo(f"{printable(path):<{width}}{printable(value)}")


def _rows(path: str, value: Json) -> list[tuple[str, str]]:
    """Flatten JSON into (path, text) rows; provenance is left to --json."""
    if isinstance(value, dict):
        inner = ((f"{path}.{name}" if path else name, item) for name, item in value.items())
        return [row for at, item in inner if at != "claims.provenance" for row in _rows(at, item)]
    if isinstance(value, list):
        return [row for at, item in enumerate(value) for row in _rows(f"{path}[{at}]", item)]
    return [(path, value if isinstance(value, str) else json.dumps(value))]


def _show_refusal(error: VerifierError, *, as_json: bool) -> None:
    data = {name: getattr(error, name, None) for name in ("claim", "expected", "actual", "hint")}
    if as_json:
        problem = {"code": error.code.value, "detail": error.detail, **data}
        write_json({"verified": False, "error": problem})
        return
    click.echo(f"refused ({error.code}): {printable(error.detail)}", err=True)
    for name, value in data.items():
        if value is not None:
            click.echo(f"  {name}: {printable(value)}", err=True)
