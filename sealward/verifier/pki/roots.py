"""The vendor roots we trust, pinned by the SHA-256 of their DER.

Fingerprints are facts and stand here; the certificates themselves come with the endorsements. A
root that is not pinned proves nothing, whatever its name says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final


@unique
class Vendor(StrEnum):
    """Who runs a root."""

    AMD = "amd"


@dataclass(frozen=True, slots=True)
class PinnedRoot:
    """One vendor root.

    Attributes:
        vendor: who runs it.
        line: the product line it endorses, in the vendor's spelling.
        sha256: of the DER certificate, lower-case hex.
    """

    vendor: Vendor
    line: str
    sha256: str


# AMD's key distribution service, /vcek/v1/<line>/cert_chain; each agrees with two other projects.
VENDOR_ROOTS: Final = (
    PinnedRoot(
        Vendor.AMD, "Milan", "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"
    ),
    PinnedRoot(
        Vendor.AMD, "Genoa", "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"
    ),
    PinnedRoot(
        Vendor.AMD, "Turin", "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"
    ),
)
