"""What Azure's paravisor says of the machine, as the section "azure" of normalised claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sealward.verifier.formats.hcl.report import HclReport
    from sealward.verifier.formats.hcl.runtime import RuntimeClaims
    from sealward.verifier.rats.claims import Json

SECTION: Final = "azure"

_SECURE_BOOT, _CONSOLE = "secure-boot", "console-enabled"
_TPM, _TPM_PERSISTED = "tpm-enabled", "tpm-persisted"
_VM_ID, _ROOT_THUMBPRINT = "vmUniqueId", "root-cert-thumbprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSection:
    """The runtime claims but for keys. All of it is as true as the paravisor's code is known.

    Attributes:
        report_version: of the HCL report.
        hardware_vmpl: the privilege level that the SNP report speaks for, which is the paravisor's
            and not the guest's; None for TDX.
        secure_boot, console, tpm, tpm_persisted: as configured; None where this release does not
            say.
        vm_id: Azure's id of the machine, or None.
        root_certificate_thumbprint: of the root that Azure's agent trusts, or None.
        user_data: 64 bytes of the guest's choice in hex, or None where the paravisor takes none.
    """

    report_version: int
    hardware_vmpl: int | None
    secure_boot: bool | None
    console: bool | None
    tpm: bool | None
    tpm_persisted: bool | None
    vm_id: str | None
    root_certificate_thumbprint: str | None
    user_data: str | None

    @property
    def name(self) -> str:
        """The claim that holds the section."""
        return SECTION

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "report_version": self.report_version,
            "hardware_vmpl": self.hardware_vmpl,
            "secure_boot": self.secure_boot,
            "console": self.console,
            "tpm": self.tpm,
            "tpm_persisted": self.tpm_persisted,
            "vm_id": self.vm_id,
            "root_certificate_thumbprint": self.root_certificate_thumbprint,
            "user_data": self.user_data,
        }


def section(report: HclReport, said: RuntimeClaims, *, vmpl: int | None) -> AzureSection:
    """Return the section; a setting of another type than it should have is None."""
    settings = dict(said.configuration)
    return AzureSection(
        report_version=report.version,
        hardware_vmpl=vmpl,
        secure_boot=_flag(settings.get(_SECURE_BOOT)),
        console=_flag(settings.get(_CONSOLE)),
        tpm=_flag(settings.get(_TPM)),
        tpm_persisted=_flag(settings.get(_TPM_PERSISTED)),
        vm_id=_text(settings.get(_VM_ID)),
        root_certificate_thumbprint=_text(settings.get(_ROOT_THUMBPRINT)),
        user_data=None if said.user_data is None else said.user_data.hex(),
    )


def _flag(value: bool | str | None) -> bool | None:  # noqa: FBT001 - what a setting is
    return value if isinstance(value, bool) else None


def _text(value: bool | str | None) -> str | None:  # noqa: FBT001 - what a setting is
    return value if isinstance(value, str) else None
