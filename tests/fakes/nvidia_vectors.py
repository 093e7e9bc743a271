"""The NVIDIA entries of the vectors' manifest, and our own view put in the manifest's words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sealward.verifier.formats.nvidia_gpu.chain import EndorsedKey
from sealward.verifier.formats.nvidia_gpu.manifest import Manifest
from sealward.verifier.formats.nvidia_gpu.opaque import Type
from sealward.verifier.formats.nvidia_gpu.report import Report

_TEXTS = {
    "driver_version": Type.DRIVER_VERSION,
    "chip_sku": Type.CHIP_SKU,
    "chip_sku_mod": Type.CHIP_SKU_MOD,
    "project": Type.PROJECT,
    "project_sku": Type.PROJECT_SKU,
    "project_sku_mod": Type.PROJECT_SKU_MOD,
    "chip_info": Type.CHIP_INFO,
}
_OCTETS = {
    "vbios_version": Type.VBIOS_VERSION,
    "board_id": Type.BOARD_ID,
    "fwid": Type.FWID,
    "feature_flag": Type.FEATURE_FLAG,
    "opaque_version": Type.OPAQUE_DATA_VERSION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One entry and its files."""

    id: str
    verifies: bool
    verify_at: datetime
    window: tuple[datetime, datetime]
    checked: dict[str, Any]
    expect: dict[str, Any]
    files: dict[str, bytes]
    paths: tuple[Path, ...]


def load(vectors_dir: Path, kind: str) -> tuple[Vector, ...]:
    """All entries of a kind: "nvidia" or "nvidia-rim"."""
    manifest = json.loads((vectors_dir / "manifest.json").read_text())  # noqa: TID251 - test data
    return tuple(
        _vector(entry, vectors_dir) for entry in manifest["vectors"] if entry["kind"] == kind
    )


def _vector(entry: dict[str, Any], vectors_dir: Path) -> Vector:
    paths = {name: vectors_dir / file["path"] for name, file in entry["files"].items()}
    window = entry["certificate_window"]
    return Vector(
        id=entry["id"],
        verifies=entry["result"] == "verifies",
        verify_at=datetime.fromisoformat(entry["verify_at"]),
        window=(
            datetime.fromisoformat(window["not_before"]),
            datetime.fromisoformat(window["not_after"]),
        ),
        checked=entry["checked_in_python"],
        expect=entry["expect"],
        files={name: path.read_bytes() for name, path in paths.items()},
        paths=tuple(paths.values()),
    )


def report_in_manifest_words(report: Report, data: bytes, endorsed: EndorsedKey) -> dict[str, Any]:
    """Every field that the manifest expects of a report, from our values."""
    opaque = report.opaque
    info: dict[str, Any] = {name: opaque.text(kind) for name, kind in _TEXTS.items()}
    for name, kind in _OCTETS.items():
        value = opaque.get(kind)
        info[name] = None if value is None else value.hex()
    info["opaque_fields"] = [_field(kind) for kind, _ in opaque.fields]
    extension = next(
        item for item in endorsed.path[0].extensions if item.oid.startswith("2.23.133.5.4.1")
    )
    return {
        "request": {
            "spdm_version": data[0],
            "code": data[1],
            "param1": data[2],
            "param2": data[3],
            "nonce": report.nonce.hex(),
            "slot": report.slot,
        },
        "response": {
            "spdm_version": data[37],
            "param1": data[39],
            "param2": data[40],
            "blocks": len(report.blocks),
            "record_len": 55 * len(report.blocks),
            "nonce": report.device_nonce.hex(),
            "opaque_len": report.opaque_size,
        },
        "info": info,
        "measurements": {str(index): digest.hex() for index, digest in report.blocks},
        "cert_subjects": [_rfc4514(item.subject.attributes) for item in endorsed.path],
        "leaf_fwid_ext": [extension.oid, extension.value.hex()],
    }


def _field(kind: int) -> str:
    return Type(kind).name.lower() if kind in list(Type) else str(kind)


def _rfc4514(attributes: tuple[tuple[str, str], ...]) -> str:
    return ",".join(f"{name}={value}" for name, value in reversed(attributes))


def manifest_in_manifest_words(manifest: Manifest) -> dict[str, Any]:
    """Every field that the vectors' manifest expects of a reference manifest, but the match."""
    return {
        "meta": {
            "colloquialVersion": manifest.version,
            "edition": manifest.edition,
            "product": manifest.product,
            "FirmwareManufacturer": manifest.manufacturer,
        },
        "measurements": len(manifest.resources),
        "active": len(manifest.active),
        "active_indices": [item.index for item in manifest.active],
    }
