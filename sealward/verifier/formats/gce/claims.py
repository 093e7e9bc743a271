"""What Google certifies of a virtual machine, as the section "google" of normalised claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sealward.verifier.formats.gce.instance import Instance
    from sealward.verifier.rats.claims import Json

SECTION: Final = "google"


@dataclass(frozen=True, slots=True)
class GoogleSection:
    """The machine, in the words of its certificate."""

    instance: Instance

    @property
    def name(self) -> str:
        """The claim that holds the section."""
        return SECTION

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; 64-bit numbers are decimal text."""
        machine = self.instance
        version = machine.security_version
        return {
            "zone": machine.zone,
            "project_number": str(machine.project_number),
            "project_id": machine.project_id,
            "instance_id": str(machine.instance_id),
            "instance_name": machine.name,
            "security_version": None if version is None else str(version),
            "tpm_data_encrypted": machine.tpm_data_encrypted,
            "suspend_disabled": machine.suspend_disabled,
            "tpm_migration_disabled": machine.tpm_migration_disabled,
        }


def platform_id(machine: Instance) -> str:
    """Return the machine's name in claims; instance ids are unique among Google's customers."""
    return f"google:instance:{machine.instance_id}"
