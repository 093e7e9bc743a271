"""The Intel entries of the vectors' manifest, and our own view put in the manifest's words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sealward.verifier.formats.dcap import collateral

if TYPE_CHECKING:
    from pathlib import Path

    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.collateral import Key

KINDS = ("tdx", "sgx")
# The manifest's fields that are about an event log: the suite of event logs looks at them.
_OF_LOGS = ("ccel_", "event_log_")


@dataclass(frozen=True, slots=True)
class Held:
    """A source of collateral in memory."""

    pieces: dict[Key, bytes] = field(repr=False)

    def get(self, key: Key) -> bytes | None:
        return self.pieces.get(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One entry and its files.

    Attributes:
        quote: as a verifier takes it: of the one vector with bytes behind it, without them.
        junk: those bytes.
        bundle: QuoteCollateralV3, or None where none is stored.
    """

    id: str
    kind: str
    result: str
    reason: str | None
    verify_at: datetime
    window: tuple[datetime, datetime]
    expect: dict[str, Any]
    quote: bytes = field(repr=False)
    junk: bytes
    bundle: bytes | None = field(repr=False)
    paths: tuple[Path, ...]

    @property
    def source(self) -> Held:
        """The collateral of the vector; nothing where none is stored."""
        return Held({} if self.bundle is None else pieces(self.bundle))


def pieces(bundle: bytes) -> dict[Key, bytes]:
    """Take a bundle apart and sort it by what its pieces are about."""
    found = collateral.bundle(bundle)
    parts = (found.tcb_info, found.qe_identity, found.pck_crl, found.root_crl)
    return {collateral.key_of(part): part for part in parts}


def load(folder: Path) -> tuple[Vector, ...]:
    """Return every entry of TDX and SGX."""
    manifest = json.loads((folder / "manifest.json").read_text())  # noqa: TID251 - test data
    return tuple(_vector(folder, entry) for entry in manifest["vectors"] if entry["kind"] in KINDS)


def _vector(folder: Path, entry: dict[str, Any]) -> Vector:
    files = {name: folder / item["path"] for name, item in entry["files"].items()}
    stored = files["quote"].read_bytes()
    behind = entry["expect"]["header"]["trailing"]
    junk = stored[len(stored) - behind :] if behind else b""
    named = [files[name] for name in ("quote", "collateral") if name in files]
    window = entry["certificate_window"]
    return Vector(
        id=entry["id"],
        kind=entry["kind"],
        result=entry["result"],
        reason=entry.get("reason"),
        verify_at=datetime.fromisoformat(entry["verify_at"]),
        window=(
            datetime.fromisoformat(window["not_before"]),
            datetime.fromisoformat(window["not_after"]),
        ),
        expect=entry["expect"],
        quote=stored[: len(stored) - behind] if junk.strip(b"\0") else stored,
        junk=junk if junk.strip(b"\0") else b"",
        bundle=files["collateral"].read_bytes() if "collateral" in files else None,
        paths=tuple(named),
    )


def expected(vector: Vector) -> dict[str, Any]:
    """Return what the manifest says of quote and PCK, without event logs and collateral."""
    left_out = ("tcb", "collateral_window")
    kept = {
        name: value
        for name, value in vector.expect.items()
        if name not in left_out and not name.startswith(_OF_LOGS)
    }
    if vector.junk:
        kept["header"] = kept["header"] | {"trailing": 0}
    return kept


def in_manifest_words(shown: dict[str, Json]) -> dict[str, Any]:
    """Return our view of quote and PCK under the manifest's names."""
    quote: dict[str, Any] = dict(shown)
    header, body = dict(quote["header"]), dict(quote["body"])
    header["trailing"] = header.pop("padding")
    # Facts that `parse` demands, so that no field of ours says them.
    header |= {"att_key_type": 2, "qe_vendor_id": "939a7233f79c4ca9940a0db3957f0607"}
    if header["version"] == 5:
        size = {False: 584, True: 648}["tee_tcb_svn2" in body]
        header |= {"body_type": 3 if size == 648 else 2, "body_size": size}
    flags = body.pop("flags")
    if header["tee_type"] == "tdx":
        known = ("debug", "migratable", "sept_ve_disable", "pks", "kl", "perfmon")
        assert not any(flags[name] for name in flags.keys() - set(known))
        body["td_flags"] = {name: flags[name] for name in known}
    else:
        body["flags"] = flags
    of_qe = ("mr_signer", "isv_prod_id", "isv_svn", "attributes", "misc_select")
    pck = dict(quote["pck"])
    pck["tcb_comp_svn"] = pck.pop("tcb_components")
    return {
        "header": header,
        "body": body,
        "qe_report": {name: quote["qe_report"][name] for name in of_qe},
        "pck": pck,
        "pck_ca": quote["pck_ca"],
        "cert_data_type": 5,
    }


def tcb_in_manifest_words(shown: dict[str, Json]) -> dict[str, Any]:
    """Return our status of a TCB under the manifest's names."""
    tcb: dict[str, Any] = dict(shown)
    words = {
        "tcb_status": tcb["platform_status"],
        "tcb_date": tcb["platform_date"],
        "advisories": tcb["advisories"],
        "qe_identity_match": True,
        "qe_status": tcb["qe_status"],
    }
    if tcb["module_id"] is not None:
        words |= {"tdx_module_id": tcb["module_id"], "tdx_module_status": tcb["module_status"]}
    return words
