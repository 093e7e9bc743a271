"""Endorsements that do not travel with evidence: how they are named, and where a verifier asks.

Vendors publish them (AMD's key distribution service, Intel's provisioning certification service,
NVIDIA's reference integrity manifests). The verifier reads them from a `Source` and fetches
nothing; what it lacks it names in `RefusedEvidence.needs`, so that whoever may fetch knows what.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final, Protocol


@unique
class Kind(StrEnum):
    """The kinds of collateral; the comment says what `Key.name` is."""

    AMD_VEK = "amd-vek"  # "<line>/<hwid hex>/<reported TCB hex>": a VCEK, DER
    AMD_CHAIN = "amd-chain"  # "<line>/vcek" or "<line>/vlek": ASK or ASVK, then ARK, PEM
    AMD_CRL = "amd-crl"  # "<line>/vcek" or "<line>/vlek": DER
    INTEL_TCB_INFO = "intel-tcb-info"  # "tdx/<fmspc hex>" or "sgx/<fmspc hex>"
    INTEL_QE_IDENTITY = "intel-qe-identity"  # "tdx" or "sgx"
    INTEL_PCK_CRL = "intel-pck-crl"  # "platform" or "processor": DER
    INTEL_ROOT_CRL = "intel-root-crl"  # "root": DER
    NVIDIA_RIM = "nvidia-rim"  # the id of the manifest: SWID XML
    NVIDIA_OCSP = "nvidia-ocsp"  # "<SHA-256 of the certificate's DER, hex>": an OCSP response, DER


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The name of one piece of collateral: lower-case hex within `name`."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        """Return "<kind>:<name>"."""
        return f"{self.kind}:{self.name}"


class Source(Protocol):
    """Where the verifier looks collateral up; answers from memory, never from a network."""

    def get(self, key: Key) -> bytes | None:
        """Return the newest bytes held under `key`, or None. The caller authenticates them."""


class NoCollateral:
    """A source that holds nothing."""

    __slots__ = ()

    def get(self, key: Key) -> bytes | None:  # noqa: ARG002 - it holds nothing under any key
        """Return None."""
        return None


NO_COLLATERAL: Final = NoCollateral()
