"""Turns an appraised device into normalised claims, with the verifier's verdicts on them."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.nvidia_gpu.compare import Component, Outcome
from sealward.verifier.formats.nvidia_gpu.opaque import Feature, Type
from sealward.verifier.formats.nvidia_gpu.report import SPDM_VERSION
from sealward.verifier.rats import distrust
from sealward.verifier.rats.claims import Claims, Clock, Collateral, Measurement, Scope, Scopes, Tee
from sealward.verifier.rats.result import Tier, Verdict, VerdictCode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sealward.verifier.formats.nvidia_gpu.device import VerifiedDevice
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.distrust import DistrustEntry

SECTION: Final = "gpu"
# What would say "tdisp" is a CPU's evidence of the device's interface; no format has it yet.
AGENT_ASSERTED: Final = "agent-asserted"

_FAMILIES: Final = MappingProxyType({"GH": "hopper", "GB": "blackwell", "LS": "nvswitch"})
_MODES: Final = MappingProxyType(
    {Feature.SINGLE: "single", Feature.MULTI: "multi", Feature.PROTECTED_PCIE: "protected-pcie"}
)

# A report is made for each nonce, over what the device's firmware has measured since its reset.
_BOOT: Final = (
    *("tee", "product", "instance_value", "platform_id", "measurements", "debug", "migratable"),
    *("memory_encrypted", "provider_in_tcb", "gpu"),
)
_RUNTIME: Final = (
    *("format_version", "platform_masked", "provider", "report_data", "clock", "collateral"),
    "development",
)
SCOPES: Final = Scopes(dict.fromkeys(_BOOT, Scope.BOOT) | dict.fromkeys(_RUNTIME, Scope.RUNTIME))


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSection:
    """What only NVIDIA's devices say.

    Attributes:
        arch: "hopper", "blackwell", "nvswitch", or "other" for a chip of a later family.
        serial: what NVIDIA calls the chip in the certificate of its boot ROM.
        driver_version, vbios_version: as the device names them.
        cc_mode: "single", "multi" or "protected-pcie" where the report says how the GPU is given to
            its machine, else None. A GPU with confidential computing off makes no report at all.
        devtools: None: no field of the report says whether development tools are let in. Where they
            change what is measured, manifests do not match.
        ppcie: protected PCIe is on, or None where the report does not say.
        nvdec0: the first video decoder is on, or None.
        fwid: SHA-384 of the firmware that holds the key, lower-case hex.
        driver, vbios: "matched" or "mismatched" with the manifest; None for what a switch lacks.
        mismatched: "<component>:<index>", all of them.
        passed_over: indexes that were not compared.
        unclaimed: indexes of blocks that no manifest speaks of.
        binding: "agent-asserted": only the agent says that the device is in this machine.
    """

    arch: str
    serial: str | None
    driver_version: str | None
    vbios_version: str | None
    cc_mode: str | None
    devtools: bool | None
    ppcie: bool | None
    nvdec0: bool | None
    fwid: str
    driver: str | None
    vbios: str | None
    mismatched: tuple[str, ...]
    passed_over: tuple[int, ...]
    unclaimed: tuple[int, ...]
    binding: str = AGENT_ASSERTED

    @property
    def name(self) -> str:
        """The claim that holds them."""
        return SECTION

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "arch": self.arch,
            "serial": self.serial,
            "driver_version": self.driver_version,
            "vbios_version": self.vbios_version,
            "cc_mode": self.cc_mode,
            "devtools": self.devtools,
            "ppcie": self.ppcie,
            "nvdec0": self.nvdec0,
            "fwid": self.fwid,
            "binding": self.binding,
            "rim": {
                "driver": self.driver,
                "vbios": self.vbios,
                "mismatched": [*self.mismatched],
                "passed_over": [*self.passed_over],
                "unclaimed": [*self.unclaimed],
            },
        }


def normalise(
    device: VerifiedDevice, *, now: datetime, distrusted: Iterable[DistrustEntry] = ()
) -> Claims:
    """Return the claims of an appraised device.

    Args:
        device: what `device.appraise` returned.
        now: the instant it was appraised at, aware UTC; every claim's `as_of`.
        distrusted: the distrust list.
    """
    verified, endorsed = device.verified, device.verified.endorsed
    section = _section(device)
    claims = Claims(
        tee=Tee.NVIDIA_SWITCH if verified.is_switch else Tee.NVIDIA_GPU,
        format_version=SPDM_VERSION,
        product=endorsed.chip.replace("_", ""),
        instance_value=endorsed.spki_sha256,
        platform_id=f"nvidia:device:{endorsed.device_sha256}",
        report_data=verified.report.nonce.hex(),
        measurements=(Measurement("firmware", "sha384", endorsed.fwid.hex()),),
        debug=False,
        migratable=False,
        memory_encrypted=False,  # a GPU keeps others out of its memory; it does not encrypt it
        provider_in_tcb=False,
        clock=Clock.HOST,
        collateral=Collateral(
            not_before=device.not_before,
            not_after=device.limits[0][1],
            revocation="checked" if device.revocation_checked else "absent",
            limits=device.limits,
        ),
        development=device.development,
        evidence_sha256=verified.evidence_sha256,
        signed_sha256=verified.signed_sha256,
        as_of=now,
        verdicts=_verdicts(device, section),
        scopes=SCOPES,
        sections=(section,),
    )
    return distrust.apply(claims, distrusted)


def _section(device: VerifiedDevice) -> GpuSection:
    endorsed, fields = device.verified.endorsed, device.verified.report.opaque
    comparison = device.comparison
    outcomes = {component: outcome.value for component, outcome in comparison.outcomes}
    feature = fields.feature
    ppcie = fields.switch(Type.PROTECTED_PCIE_STATUS)
    mode = None if feature is None else _MODES[feature]
    return GpuSection(
        arch=_FAMILIES.get(endorsed.chip[:2], "other"),
        serial=endorsed.serial,
        driver_version=fields.text(Type.DRIVER_VERSION),
        vbios_version=fields.vbios_version,
        cc_mode=mode,
        devtools=None,
        ppcie=feature is Feature.PROTECTED_PCIE if ppcie is None and feature is not None else ppcie,
        nvdec0=fields.switch(Type.NVDEC0_STATUS),
        fwid=endorsed.fwid.hex(),
        driver=outcomes.get(Component.DRIVER),
        vbios=outcomes.get(Component.VBIOS),
        mismatched=tuple(f"{component}:{index}" for component, index in comparison.mismatched),
        passed_over=comparison.passed_over,
        unclaimed=comparison.unclaimed,
    )


def _verdicts(device: VerifiedDevice, section: GpuSection) -> tuple[Verdict, ...]:
    """Return what is held against a genuine device (security-requirements F20b, F8c)."""
    verdicts = [
        Verdict(
            code=VerdictCode.DEVICE_BINDING_UNPROVEN,
            claim="gpu.binding",
            expected="tdisp",
            actual=section.binding,
            tier=Tier.WARNING,
        )
    ]
    if any(outcome is Outcome.MISMATCHED for _, outcome in device.comparison.outcomes):
        verdicts.append(
            Verdict(
                code=VerdictCode.FIRMWARE_UNKNOWN,
                claim="gpu.rim.mismatched",
                expected="none",
                actual=", ".join(section.mismatched),
            )
        )
    if device.development:
        verdicts.append(
            Verdict(
                code=VerdictCode.DEVELOPMENT_ROOT,
                claim="development",
                expected="false",
                actual="true",
            )
        )
    return tuple(verdicts)
