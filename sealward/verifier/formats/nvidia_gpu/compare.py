"""A report against the manifests of its driver and its VBIOS.

Numbered procedure of `compare`:

    (1) each manifest is for this chip, and for the very version that the report names;
    (2) no index is active in both: two signed statements about one block would leave a choice;
    (3) for every active index i the report's block i + 1 is one of the manifest's digests. Index 35
        is passed over while the report says that NVDEC0 is disabled, as NVIDIA's verifier does.

A digest that differs is no error here: it is said, all of them are, and becomes a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.nvidia_gpu.opaque import Type
from sealward.verifier.formats.nvidia_gpu.report import DIGEST_SIZE
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence

if TYPE_CHECKING:
    from sealward.verifier.formats.nvidia_gpu.manifest import Manifest, VerifiedManifest
    from sealward.verifier.formats.nvidia_gpu.report import Report
    from sealward.verifier.formats.nvidia_gpu.verify import VerifiedReport

_NVDEC0_INDEX: Final = 35
_NOTHING: Final = bytes(DIGEST_SIZE)
# LS10 has no fields for its board; its manifests are all published under this one.
_SWITCH_BOARD: Final = "5612_0002_890"
_BASES: Final = {"driver": 10, "vbios": 16}


@unique
class Component(StrEnum):
    """What a manifest speaks of."""

    DRIVER = "driver"
    VBIOS = "vbios"


@unique
class Outcome(StrEnum):
    """How a report compares with one manifest."""

    MATCHED = "matched"
    MISMATCHED = "mismatched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a report compares with its manifests; indexes are the manifests', from 0.

    Attributes:
        outcomes: per component that this kind of device has.
        mismatched: (component, index), ascending by index within a component.
        passed_over: indexes that were not compared, by step 3.
        unclaimed: indexes of blocks that are not zero and of which no manifest speaks.
    """

    outcomes: tuple[tuple[Component, Outcome], ...]
    mismatched: tuple[tuple[Component, int], ...]
    passed_over: tuple[int, ...]
    unclaimed: tuple[int, ...]


def wanted(verified: VerifiedReport) -> tuple[tuple[Component, Key], ...]:
    """Return which manifests a report needs, by the ids under which NVIDIA publishes them.

    Raises:
        MalformedEvidence: the report does not name its versions or its board.
    """
    fields, chip = verified.report.opaque, verified.endorsed.chip
    vbios = version_of(verified.report, Component.VBIOS).replace(".", "")
    if verified.is_switch:
        return ((Component.VBIOS, _key(f"NV_SWITCH_BIOS_{_SWITCH_BOARD}_{vbios}")),)
    board = [fields.text(kind) for kind in (Type.PROJECT, Type.PROJECT_SKU, Type.CHIP_SKU)]
    if not all(board):
        raise MalformedEvidence(0, "NVIDIA report: it does not name project, its SKU and chip SKU")
    name = "_".join(str(part) for part in board).upper()
    # From Blackwell on the chip is in the report as well; it names the manifests' family.
    family = fields.text(Type.CHIP_INFO) or chip
    kind = "NV_GPU_DRIVER" if chip.startswith("GH") else "NV_GPU_CC_DRIVER"
    driver = version_of(verified.report, Component.DRIVER)
    return (
        (Component.DRIVER, _key(f"{kind}_{family}_{driver}")),
        (Component.VBIOS, _key(f"NV_GPU_VBIOS_{name}_{vbios}")),
    )


def version_of(report: Report, component: Component) -> str:
    """Return the version that a report names for a component.

    Raises:
        MalformedEvidence: it names none.
    """
    if component is Component.DRIVER:
        version = report.opaque.text(Type.DRIVER_VERSION)
    else:
        version = report.opaque.vbios_version
    if not version:
        raise MalformedEvidence(0, f"NVIDIA report: it does not name its {component} version")
    return version


def compare(
    verified: VerifiedReport, manifests: tuple[tuple[Component, VerifiedManifest], ...]
) -> Comparison:
    """Run the procedure above.

    Raises:
        RefusedEvidence: COLLATERAL_MISMATCH or FIRMWARE_NEWER_THAN_RIM (1), RIM_CONFLICT (2).
    """
    claimed: dict[int, tuple[Component, tuple[bytes, ...]]] = {}
    for component, found in manifests:
        _check_subject(verified, component, found.manifest)  # (1)
        for item in found.manifest.active:
            if item.index in claimed:  # (2)
                raise RefusedEvidence(
                    Code.RIM_CONFLICT,
                    "the manifests of driver and VBIOS both speak of one measurement",
                    claim="gpu.rim",
                    actual=f"index {item.index}",
                )
            claimed[item.index] = (component, item.digests)
    blocks = dict(verified.report.blocks)  # from 1
    nvdec0_off = verified.report.opaque.switch(Type.NVDEC0_STATUS) is False
    passed_over = {_NVDEC0_INDEX} & claimed.keys() if nvdec0_off else set()
    mismatched = tuple(  # (3)
        (component, index)
        for index, (component, digests) in claimed.items()
        if index not in passed_over and blocks.get(index + 1) not in digests
    )
    wrong = {component for component, _ in mismatched}
    return Comparison(
        outcomes=tuple(
            (component, Outcome.MISMATCHED if component in wrong else Outcome.MATCHED)
            for component, _ in manifests
        ),
        mismatched=mismatched,
        passed_over=tuple(sorted(passed_over)),
        unclaimed=tuple(
            index - 1
            for index, digest in verified.report.blocks
            if digest != _NOTHING and index - 1 not in claimed
        ),
    )


def component_of(manifest: Manifest) -> Component:
    """Return what a manifest speaks of, by the form of its version; it says so nowhere else."""
    parts = manifest.version.split(".")
    vbios = len(parts) == 5 and all(len(part) == 2 for part in parts)  # noqa: PLR2004 - b3.b2.b1.b0.b4
    return Component.VBIOS if vbios else Component.DRIVER


def _check_subject(verified: VerifiedReport, component: Component, manifest: Manifest) -> None:
    """Step 1."""
    chip = verified.endorsed.chip.replace("_", "")
    edition = "SWITCH" if verified.is_switch else "GPU"
    told = version_of(verified.report, component)
    expected = f"{edition} {chip} {told}".upper()
    actual = f"{manifest.edition} {manifest.product} {manifest.version}".upper()
    if expected == actual:
        return
    newer = _ordinal(told, component) > _ordinal(manifest.version, component) > ()
    same_chip = (edition, chip) == (manifest.edition, manifest.product)
    raise RefusedEvidence(
        Code.FIRMWARE_NEWER_THAN_RIM if newer and same_chip else Code.COLLATERAL_MISMATCH,
        f"the manifest is for another {component} than the report names",
        claim=f"gpu.{component}_version",
        expected=actual,
        actual=expected,
        hint="fetch the manifest of this version, which NVIDIA publishes with it",
    )


def _ordinal(version: str, component: Component) -> tuple[int, ...]:
    """Return a version as numbers, for order; nothing at all when it is none."""
    try:
        return tuple(int(part, _BASES[component]) for part in version.split("."))
    except ValueError:
        return ()


def _key(name: str) -> Key:
    return Key(Kind.NVIDIA_RIM, name)
