"""The software attester: the agent's attester port on a development platform instead of hardware.

It plays the hardware for one guest, of the kind that the setting `kind` names: `snp` (where nothing
is said), `tdx` or `nitro`. The evidence is genuine in every byte and roots in a development root,
which only a verifier told to trust development roots accepts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward_devkit.attesters import nitro, snp, tdx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealward.enclave_agent.attesters.port import Attester


def from_settings(settings: Mapping[str, object]) -> Attester:
    """The entry point `software` of the group `sealward.attesters`.

    Raises:
        AttesterUnavailable: the kind is unknown, or a setting of the kind is missing, unknown or of
            the wrong type or size.
    """
    rest = {name: value for name, value in settings.items() if name != "kind"}
    match settings.get("kind", snp.SoftwareAttester.kind):
        case snp.SoftwareAttester.kind:
            return snp.from_settings(rest)
        case tdx.SoftwareTdx.kind:
            return tdx.from_settings(rest)
        case nitro.SoftwareNitro.kind:
            return nitro.from_settings(rest)
        case other:
            raise AttesterUnavailable(f"[attester] kind is snp, tdx or nitro, not {other!a}.")
