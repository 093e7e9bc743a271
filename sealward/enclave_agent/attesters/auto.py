"""The attester `auto`: the first that can be used of snp, tdx, nitro, azure, in this order.

A machine has at most one of these TEEs, so the order decides nothing but which is asked first. The
software attester is never chosen, and neither is one that this distribution does not bring:
evidence of less than a TEE is a decision that an operator writes down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters import nsm, snp, tdx
from sealward.enclave_agent.attesters.azure_vtpm import attester as azure
from sealward.enclave_agent.attesters.port import AttesterUnavailable, require_no_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealward.enclave_agent.attesters.port import Attester, AttesterFactory

NAME: Final = "auto"
ORDER: Final = ("snp", "tdx", "nitro", "azure")


def first_available(attesters: Iterable[Attester]) -> Attester:
    """Return the first whose probe succeeds.

    Raises:
        AttesterUnavailable: none does; the message has the reason of each.
    """
    reasons: list[str] = []
    for attester in attesters:
        availability = attester.probe()
        if availability.available:
            return attester
        reasons.append(availability.why)
    raise AttesterUnavailable(f"This machine has no TEE that can be used. {' '.join(reasons)}")


def from_settings(settings: Mapping[str, object]) -> Attester:
    """The entry point `auto`; it has no settings.

    Raises:
        AttesterUnavailable: a setting is given, or no TEE can be used here.
    """
    require_no_settings(settings)
    factories: dict[str, AttesterFactory] = {
        "snp": snp.from_settings,
        "tdx": tdx.from_settings,
        "nitro": nsm.from_settings,
        "azure": azure.from_settings,
    }
    return first_available(factories[name]({}) for name in ORDER)
