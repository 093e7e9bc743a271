"""What NVIDIA's services publish: reference integrity manifests.

A manifest says its chip and version and, of a VBIOS, not its board, which is part of the id that it
is published under: there the caller says the id, and the parts of it that the manifest knows must
agree. A wrong board costs its own nodes only, whose measurements then match nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sealward.controlplane.domain.collateral import Inspected
from sealward.verifier.formats.nvidia_gpu import compare, manifest
from sealward.verifier.formats.nvidia_gpu.compare import Component
from sealward.verifier.formats.nvidia_gpu.manifest import Manifest
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import Code, RefusedEvidence

_HOPPER: Final = "GH"  # later chips have drivers of another family of manifests


def inspect_manifest(
    data: bytes, *, expected: Key | None, anchors: TrustAnchors, now: datetime
) -> Inspected:
    """Verify a manifest, and that it may be published under the id it is said to have.

    Raises:
        VerifierError: it does not hold, or the id cannot be told.
    """
    found = manifest.authenticate(data, anchors=anchors, now=now, cache=ChainCache(1))
    return Inspected(
        key=Key(Kind.NVIDIA_RIM, _id(found.manifest, expected)),
        content=data,
        issued=found.window.not_before,
        next_update=found.window.not_after,
        number=None,
        signer=found.path[0].subject.text,
        development=found.development,
    )


def _id(found: Manifest, expected: Key | None) -> str:
    """Return the id: said, where it agrees with the manifest; else told by a driver's."""
    driver = compare.component_of(found) is Component.DRIVER
    version = found.version if driver else found.version.replace(".", "")
    end = f"_{found.product}_{version}" if driver else f"_{version}"
    said = None if expected is None or expected.kind is not Kind.NVIDIA_RIM else expected.name
    if said is not None and said.upper().endswith(end.upper()):
        return said
    if said is None and driver:
        family = "NV_GPU_DRIVER" if found.product.startswith(_HOPPER) else "NV_GPU_CC_DRIVER"
        return family + end
    raise RefusedEvidence(
        Code.COLLATERAL_MISMATCH,
        "the manifest does not say which board it is for"
        if said is None
        else "the manifest is of another version than its id says",
        expected=f"an id that ends in {end}",
        actual=said or "none",
        hint="say the id that it is published under: --as nvidia-rim:NV_GPU_VBIOS_...",
    )
