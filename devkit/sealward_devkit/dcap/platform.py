"""A development machine of Intel's shape: its PCK, and the quoting enclave that signs on it.

A platform's key and certificate are what its provisioning certification enclave would hold. The
quoting enclave makes its attestation key itself, which the PCK certifies in every quote.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from sealward_devkit.dcap.hierarchy import (
    COMPONENTS,
    FMSPC_SIZE,
    PIID_SIZE,
    PPID_SIZE,
    Hierarchy,
    PlatformFacts,
    pck_template,
)
from sealward_devkit.pki.certificates import sign_certificate
from sealward_devkit.pki.keys import p256_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from sealward_devkit.pki.keys import RandomBytes

# Plausible and nobody's: the custom SKU byte of real ones is zero.
DEFAULT_FMSPC: Final = bytes.fromhex("90c06f0000de")
# As a server shows them that has all updates of 2026; what is not used is zero.
DEFAULT_SVNS: Final = (3, 3, 2, 2, 4, 1, 0, 5) + (0,) * (COMPONENTS - 8)
DEFAULT_PCE_SVN: Final = 13
_SERIAL_SIZE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningEnclave:
    """One of Intel's quoting enclaves: its identity's id, MRSIGNER, ISVPRODID, today's ISVSVN."""

    id: str
    signer: bytes
    product: int
    svn: int


@unique
class Tee(Enum):
    """Whose quotes: tee_type of the header, the id of its TCB info, and who signs them."""

    SGX = (
        0x00,
        "SGX",
        SigningEnclave(
            id="QE",
            signer=bytes.fromhex(
                "8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff"
            ),
            product=1,
            svn=8,
        ),
    )
    TDX = (
        0x81,
        "TDX",
        SigningEnclave(
            id="TD_QE",
            signer=bytes.fromhex(
                "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"
            ),
            product=2,
            svn=4,
        ),
    )

    def __init__(self, number: int, id_: str, qe: SigningEnclave) -> None:
        self.number: Final = number
        self.id: Final = id_
        self.qe: Final = qe


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One machine of a development root: what its PCK certificate says, key and DER chain."""

    facts: PlatformFacts
    key: EllipticCurvePrivateKey = field(repr=False)
    pck: bytes = field(repr=False)
    platform_ca: bytes = field(repr=False)
    root: bytes = field(repr=False)

    @property
    def platform_id(self) -> str:
        """The identity that the verifier derives."""
        return f"intel:piid:{self.facts.platform_instance_id.hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotingEnclave:
    """The enclave that signs quotes: its attestation key and what its own report shows."""

    tee: Tee
    svn: int
    key: EllipticCurvePrivateKey = field(repr=False)
    authentication_data: bytes = bytes(range(32))

    @property
    def mr_enclave(self) -> bytes:
        """A stand-in for the digest of Intel's enclave, which nobody compares."""
        return hashlib.sha256(b"sealward development " + self.tee.qe.id.encode()).digest()


def new_platform(
    hierarchy: Hierarchy,
    random_bytes: RandomBytes,
    *,
    fmspc: bytes = DEFAULT_FMSPC,
    svns: tuple[int, ...] = DEFAULT_SVNS,
    pce_svn: int = DEFAULT_PCE_SVN,
) -> Platform:
    """A new machine with its own PCK, valid as long as its root.

    Raises:
        ValueError: `fmspc` is not 6 bytes, or `svns` are not 16.
    """
    if len(fmspc) != FMSPC_SIZE or len(svns) != COMPONENTS:
        raise ValueError("an FMSPC has 6 bytes, a TCB 16 components")
    facts = PlatformFacts(
        fmspc=fmspc,
        ppid=random_bytes(PPID_SIZE),
        platform_instance_id=random_bytes(PIID_SIZE),
        svns=svns,
        pce_svn=pce_svn,
    )
    key = p256_key(random_bytes)
    serial = int.from_bytes(random_bytes(_SERIAL_SIZE), "big")
    issuer = hierarchy.platform_ca_key
    template = pck_template(
        facts, serial, key.public_key(), issuer.public_key(), hierarchy.validity
    )
    return Platform(
        facts=facts,
        key=key,
        pck=sign_certificate(template, issuer),
        platform_ca=hierarchy.platform_ca,
        root=hierarchy.root,
    )


def new_quoting_enclave(
    tee: Tee, random_bytes: RandomBytes, *, svn: int | None = None
) -> QuotingEnclave:
    """An enclave with a new attestation key, at today's security version unless told otherwise."""
    return QuotingEnclave(
        tee=tee, svn=tee.qe.svn if svn is None else svn, key=p256_key(random_bytes)
    )
