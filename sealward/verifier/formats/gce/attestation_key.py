"""Google's certificate for the attestation key of a virtual TPM, and its chain to Google's root.

Numbered procedure of `endorse`:

    (1) the chain is found by names among the certificates given; each name fits exactly one;
    (2) its root is one of Google's pinned ones, by the SHA-256 of its DER;
    (3) the chain holds: names, CA rules, RSASSA with SHA-256, signatures, dates at `now`;
    (4) the leaf is no CA, and its key is for signatures (keyUsage digitalSignature);
    (5) it names the virtual machine (instance.py), of Google's production environment.

`check_key` then compares the certified key with the one that signed. The extended key usage is not
looked at: Google's older CA calls attestation keys endorsement keys too, the newer one calls them
nothing. Revocation is not looked at; `Collateral.revocation` says "absent".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealward.verifier.formats.gce import instance
from sealward.verifier.pki import algorithms, certificate, chain
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.development import DevelopmentRoot
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from sealward.verifier.formats.gce.instance import Instance
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.pki.chain_cache import ChainCache

MAX_CHAIN: Final = 4  # leaf, intermediate, root; and one to spare

_OID_SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
_RULES: Final = chain.Rules(
    algorithms=frozenset({SignatureAlgorithm.RSA_PKCS1_SHA256}),
    # Says "vTPM, made by Google" in the older CA's certificates, which the issuer says as well.
    critical=frozenset({_OID_SUBJECT_ALTERNATIVE_NAME}),
)
_WHERE: Final = (
    "Google publishes its intermediates and roots where the certificate's authority information"
    " access says; add these files"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsedAk:
    """An attestation key whose chain held when it was made; its dates are checked at each use.

    Attributes:
        instance: the machine.
        spki: DER SubjectPublicKeyInfo of the key.
        window: when the whole chain is valid.
        chain: the subjects, leaf first.
    """

    instance: Instance
    spki: bytes = field(repr=False)
    window: chain.Window
    chain: tuple[str, ...]


def is_attestation_key(parsed: Certificate) -> bool:
    """Whether a certificate presents itself as Google's for a key that signs."""
    return parsed.digital_signature and parsed.extension(instance.OID) is not None


def endorse(
    leaf: bytes,
    certificates: Iterable[bytes],
    *,
    anchors: TrustAnchors,
    now: datetime,
    cache: ChainCache,
) -> EndorsedAk:
    """Run the procedure above at the aware UTC instant `now`, or find its result in the cache.

    Args:
        leaf: the certificate, DER.
        certificates: intermediates and roots, DER, in any order.
        anchors: the roots trusted here.
        now: the instant.
        cache: what was verified before.

    Raises:
        MalformedEvidence: a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    pool = tuple(dict.fromkeys(certificates))
    key = ("gce", _digest((leaf, *pool)), anchors.digest)
    endorsed = cache.get(key, EndorsedAk)
    if endorsed is None:
        endorsed = _endorse(leaf, pool, anchors, now)
        cache.put(key, endorsed)
    endorsed.window.check(now)
    return endorsed


def check_key(endorsed: EndorsedAk, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> None:
    """Refuse a quote that another key signed than the certified one.

    Raises:
        RefusedEvidence: KEY_KIND_MISMATCH.
    """
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    certified = algorithms.load_public_key(endorsed.spki, owner="Google's certificate")
    if key.public_bytes(*form) != certified.public_bytes(*form):
        raise RefusedEvidence(
            Code.KEY_KIND_MISMATCH,
            "Google's certificate is for another attestation key than the one that signed",
            claim="tpm.ak_name",
            expected=hashlib.sha256(certified.public_bytes(*form)).hexdigest(),
            actual=hashlib.sha256(key.public_bytes(*form)).hexdigest(),
            hint="quote with the key that the certificate is for (NV index 0x01C10000 or"
            " 0x01C10002)",
        )


def _digest(parts: tuple[bytes, ...]) -> bytes:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def _endorse(
    leaf: bytes, pool: tuple[bytes, ...], anchors: TrustAnchors, now: datetime
) -> EndorsedAk:
    path = _path(certificate.parse(leaf), tuple(certificate.parse(item) for item in pool))  # (1)
    _check_anchor(anchors, path[-1].fingerprint)  # (2)
    window = chain.walk(path, rules=_RULES, now=now)  # (3)
    _check_usage(path[0])  # (4)
    return EndorsedAk(
        instance=_instance(path[0]),  # (5)
        spki=path[0].spki,
        window=window,
        chain=tuple(member.subject.text for member in path),
    )


def _path(leaf: Certificate, pool: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    path = [leaf]
    while path[-1].issuer != path[-1].subject:
        issuers = [item for item in pool if item.subject == path[-1].issuer]
        if not issuers or len(path) == MAX_CHAIN:
            raise RefusedEvidence(
                Code.ENDORSEMENT_MISSING,
                f"the certificate of {path[-1].issuer.text} is missing, or the chain is too long",
                hint=_WHERE,
            )
        if len(issuers) > 1:
            raise RefusedEvidence(
                Code.EVIDENCE_AMBIGUOUS,
                f"{len(issuers)} different certificates could be {path[-1].issuer.text}",
            )
        path.append(issuers[0])
    return tuple(path)


def _check_anchor(anchors: TrustAnchors, fingerprint: str) -> None:
    anchor = anchors.identify(fingerprint)
    if isinstance(anchor, DevelopmentRoot) or anchor.vendor is not Vendor.GOOGLE:
        raise RefusedEvidence(
            Code.ROOT_NOT_PINNED,
            "the chain of the attestation key ends in a root that is not Google's",
            actual=fingerprint,
        )


def _check_usage(leaf: Certificate) -> None:
    ca = leaf.basic_constraints is not None and leaf.basic_constraints.ca
    if ca or not leaf.digital_signature:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN,
            "the certificate is not one of a key that signs",
            expected="no CA, keyUsage digitalSignature",
            actual=leaf.subject.text or "empty subject",
        )


def _instance(leaf: Certificate) -> Instance:
    found = instance.of(leaf)
    if found is None or not found.production:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN,
            "the certificate does not name a virtual machine of Google's production environment",
            expected=f"extension {instance.OID}, production",
            actual="no such extension" if found is None else "a test environment",
        )
    return found
