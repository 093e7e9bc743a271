"""The SEV-SNP entries of the vectors' manifest, and our own view put in the manifest's words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sealward.verifier.formats.snp import evidence
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.rats.evidence import SNP_EVIDENCE, Record, encode
from sealward.verifier.wire import pem

if TYPE_CHECKING:
    from pathlib import Path

    from sealward.verifier.rats.claims import Json

# ours -> the manifest's, for flags that the manifest abbreviates.
_POLICY = {
    "smt_allowed": "smt",
    "cxl_allowed": "cxl_allow",
    "rapl_disabled": "rapl_dis",
    "page_swap_disabled": "page_swap_disable",
}
_PLATFORM = {
    "smt_enabled": "smt_en",
    "tsme_enabled": "tsme_en",
    "ecc_enabled": "ecc_en",
    "rapl_disabled": "rapl_dis",
    "ciphertext_hiding": "ciphertext_hiding_en",
    "tio_enabled": "tio_en",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One entry and its files; certificates in DER."""

    id: str
    verifies: bool
    verify_at: datetime
    window: tuple[datetime, datetime]
    checked: dict[str, Any]
    expect: dict[str, Any]
    paths: tuple[Path, ...]
    report: bytes = field(repr=False)
    endorsements: Endorsements = field(repr=False)
    auxblob: bytes | None = field(repr=False)

    def envelope(self) -> bytes:
        """The vector as an attester of ours would send it."""
        chain = self.endorsements
        payload = evidence.encode(
            evidence.Evidence(self.report, (chain.vek, chain.intermediate, chain.root))
        )
        return encode(Record(SNP_EVIDENCE, payload))


def load(folder: Path) -> tuple[Vector, ...]:
    """Every SEV-SNP entry of the manifest; at least one, or the manifest is not what we think."""
    manifest = json.loads((folder / "manifest.json").read_text())  # noqa: TID251 - test data
    entries = [entry for entry in manifest["vectors"] if entry["kind"] == "sev-snp"]
    assert entries
    return tuple(_vector(folder, entry) for entry in entries)


def _vector(folder: Path, entry: dict[str, Any]) -> Vector:
    paths = {role: folder / item["path"] for role, item in entry["files"].items()}
    files = {role: path.read_bytes() for role, path in paths.items()}
    window = entry["certificate_window"]
    return Vector(
        id=entry["id"],
        verifies={"verifies": True, "fails": False}[entry["result"]],
        verify_at=datetime.fromisoformat(entry["verify_at"]),
        window=(
            datetime.fromisoformat(window["not_before"]),
            datetime.fromisoformat(window["not_after"]),
        ),
        checked=entry["checked_in_python"],
        expect=entry["expect"],
        paths=tuple(path for role, path in paths.items() if role != "auxblob"),
        report=files["report"],
        endorsements=Endorsements(*(_der(files[r]) for r in ("vek", "intermediate", "root"))),
        auxblob=files.get("auxblob"),
    )


def _der(data: bytes) -> bytes:
    return pem.decode(data, what="vector", max_bytes=1 << 20)[0] if pem.looks_like(data) else data


def in_manifest_words(
    report: dict[str, Json], vek: dict[str, Json], vek_serial: int
) -> dict[str, Any]:
    """Our report and VEK views, whole, as the manifest would write them.

    Nothing is dropped: what we know and the manifest does not makes the comparison fail, and what
    it knows and we do not does as well.
    """
    ours: dict[str, Any] = dict(report)
    abi = ours.pop("policy_abi")
    flags = {_POLICY.get(name, name): value for name, value in ours["policy_flags"].items()}
    # Bit 17 is not a flag of ours: a report in which it is not 1 does not parse.
    ours["policy_flags"] = {"abi": abi, "reserved17": True, **flags}
    ours["platform_flags"] = {
        _PLATFORM.get(name, name): value for name, value in ours["platform_flags"].items()
    }
    ours["author_key_en"] = ours.pop("author_key_enabled")
    theirs = dict(vek)
    theirs.pop("kind")  # said by signing_key in the manifest
    if "hwid" in theirs:
        theirs["hwid_raw_len"] = len(str(theirs["hwid"])) // 2
    product = str(theirs["product_name"])
    if "cpuid" in ours:
        cpuid = ours.pop("cpuid")
        ours["cpuid_fam_id"] = cpuid["family"]
        ours["cpuid_mod_id"] = cpuid["model"]
        ours["cpuid_step"] = cpuid["stepping"]
        ours["product"] = product.partition("-")[0]
    else:
        ours["product"] = f"{product} (from certificate)"
    return {"report": ours, "vek_extensions": theirs, "vek_serial": vek_serial}
