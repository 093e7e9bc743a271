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
    NVIDIA = "nvidia"
    AWS = "aws"
    INTEL = "intel"
    GOOGLE = "google"
    HYGON = "hygon"


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
    # Intel SGX Root CA, certificates.trustedservices.intel.com: SGX and TDX quotes, collateral.
    PinnedRoot(
        Vendor.INTEL, "DCAP", "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
    ),
    # AWS Nitro Enclaves Root G1, aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip.
    PinnedRoot(
        Vendor.AWS, "Nitro", "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"
    ),
    # NVIDIA Device Identity CA: the keys of GPUs and switches.
    PinnedRoot(
        Vendor.NVIDIA, "GPU", "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48"
    ),
    # NVIDIA CoRIM signing Root CA: reference integrity manifests.
    PinnedRoot(
        Vendor.NVIDIA, "RIM", "12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1"
    ),
    # Google's CAs for keys of virtual TPMs, privateca-content-62d71773...storage.googleapis.com and
    # pki.goog/cloud_integrity/tpm_ek_root_1.crt (before 2022).
    PinnedRoot(
        Vendor.GOOGLE, "vTPM", "594759594b9b61524f6c8ef668f7177f7b9066bc0674f2f49fe9e052be78beb2"
    ),
    PinnedRoot(
        Vendor.GOOGLE, "vTPM", "9bd5285f8fb18502a7947e621ffd470266f49fcd3b73e19a190f690ad32a7caf"
    ),
    # Hygon Root Key (HRK) of CSV: the 832 bytes of a certificate that is not X.509.
    PinnedRoot(
        Vendor.HYGON, "CSV", "296efa97580464aca0ab5eefe42199ee05862182508d1629f29cf4dc175b10cd"
    ),
)
