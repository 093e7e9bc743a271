"""The format's own fields as plain JSON, for people and tools: every field of report and manifests.

Policies see the normalised claims instead (`rats.claims`). Byte fields are lower-case hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.nvidia_gpu.opaque import Type

if TYPE_CHECKING:
    from sealward.verifier.formats.nvidia_gpu.manifest import Manifest
    from sealward.verifier.formats.nvidia_gpu.report import Report
    from sealward.verifier.rats.claims import Json

_NAMES: Final = {int(kind): kind.name.lower() for kind in Type}


def describe_report(report: Report) -> dict[str, Json]:
    """Return every field of a report; opaque fields by name, or by number where it has none."""
    return {
        "nonce": report.nonce.hex(),
        "slot": report.slot,
        "device_nonce": report.device_nonce.hex(),
        "measurements": {str(index): digest.hex() for index, digest in report.blocks},
        "opaque": {
            _NAMES.get(kind, str(kind)): value.hex() for kind, value in report.opaque.fields
        },
        "opaque_size": report.opaque_size,
        "driver_version": report.opaque.text(Type.DRIVER_VERSION),
        "vbios_version": report.opaque.vbios_version,
    }


def describe_manifest(manifest: Manifest) -> dict[str, Json]:
    """Return every field of a manifest; of place-holders only that they are there."""
    return {
        "product": manifest.product,
        "edition": manifest.edition,
        "version": manifest.version,
        "manufacturer": manifest.manufacturer,
        "measurements": len(manifest.resources),
        "active": {
            str(item.index): [digest.hex() for digest in item.digests] for item in manifest.active
        },
    }
