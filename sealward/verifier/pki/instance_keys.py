"""Keys of attesters that no certificate endorses: a tenant says which key is whose.

Arm CCA platforms and PSA devices sign with a key that their maker burned in; the token names the
instance and not the key (evidence-formats sections 8 and 9). So the tenant gives the keys, as trust
anchors of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from sealward.verifier.pki import algorithms
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import pem

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FILE_BYTES: Final = 4096  # a P-384 key in PEM has 215 bytes
MIN_SECRET_BYTES: Final = 32  # RFC 9053 section 3.1: no shorter than the MAC, SHA-256's


@unique
class Scheme(StrEnum):
    """What signs with such keys."""

    CCA = "cca"
    PSA = "psa"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceKey:
    """One instance's verification key, as a tenant vouches for it: `spki` or `secret`, not both.

    Attributes:
        scheme: what the key signs.
        spki: DER SubjectPublicKeyInfo.
        secret: HMAC-SHA-256 key, for devices whose tokens are COSE_Mac0.
        instance_id: of the one instance it belongs to; None for whatever instance is looked at,
            which is for a person who verifies a file and named the key for it, and for no server.
        implementation_id: of the hardware, where the tenant says that too.
    """

    scheme: Scheme
    spki: bytes | None = field(default=None, repr=False)
    secret: bytes | None = field(default=None, repr=False)
    instance_id: bytes | None = None
    implementation_id: bytes | None = None

    def __post_init__(self) -> None:
        if (self.spki is None) == (self.secret is None):
            raise ValueError("an instance key is a public key or a secret")
        if self.secret is not None and len(self.secret) < MIN_SECRET_BYTES:
            raise ValueError(f"a secret has at least {MIN_SECRET_BYTES} bytes")

    def fits(self, scheme: Scheme, instance_id: bytes, implementation_id: bytes) -> bool:
        """Whether the tenant says that this is the key of that instance."""
        return (
            self.scheme is scheme
            and self.instance_id in (None, instance_id)
            and self.implementation_id in (None, implementation_id)
        )


def find(
    keys: Iterable[InstanceKey], scheme: Scheme, *, instance_id: bytes, implementation_id: bytes
) -> InstanceKey:
    """Return the one key of an instance.

    Raises:
        RefusedEvidence: ENDORSEMENT_MISSING for none, EVIDENCE_AMBIGUOUS for several.
    """
    found = [key for key in keys if key.fits(scheme, instance_id, implementation_id)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            f"{len(found)} keys are given for one {scheme.value} instance",
            actual=instance_id.hex(),
            hint="remove those that are not this instance's",
        )
    raise RefusedEvidence(
        Code.ENDORSEMENT_MISSING,
        f"no key is known for this {scheme.value} instance",
        claim="platform_id",
        actual=f"instance {instance_id.hex()}, implementation {implementation_id.hex()}",
        hint="add the instance's verification key, from its maker, as a trust anchor",
    )


def public_key(key: InstanceKey) -> ec.EllipticCurvePublicKey:
    """Load the public key of an instance.

    Raises:
        RefusedEvidence: CERTIFICATE_FORBIDDEN, not ECDSA P-256 or P-384; ENDORSEMENT_MISSING, the
            tenant gave a secret and the token is signed.
    """
    owner = f"the {key.scheme.value} instance"
    if key.spki is None:
        raise RefusedEvidence(
            Code.ENDORSEMENT_MISSING,
            f"the token is signed, and for {owner} only a secret is known",
            hint="add the instance's public key as a trust anchor",
        )
    loaded = algorithms.load_public_key(key.spki, owner=owner)
    if not isinstance(loaded, ec.EllipticCurvePublicKey):
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN, f"the key of {owner} is not an ECDSA P-256 or P-384 key"
        )
    return loaded


def looks_like_pem(data: bytes) -> bool:
    """Whether `data` starts as a public key in PEM does."""
    return pem.looks_like(data, label=pem.PUBLIC_KEY)


def from_pem(data: bytes) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a file with one PEM public key, not looked into.

    Raises:
        MalformedEvidence: not exactly one "PUBLIC KEY" block.
    """
    what = "public key file"
    blocks = pem.decode(data, what=what, max_bytes=MAX_FILE_BYTES, label=pem.PUBLIC_KEY)
    if len(blocks) != 1:
        raise MalformedEvidence(0, f"{what}: {len(blocks)} keys, where one is expected")
    return blocks[0]
