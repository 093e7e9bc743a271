"""The certificates of an attestation document, from bytes to a key we believe.

Numbered procedure of `endorse`; the path is certificate, cabundle[n-1] .. cabundle[1], cabundle[0]:

    (1) cabundle[0] is AWS's pinned root, or an imported development root of the line "Nitro";
    (2) the chain holds: names, CA rules with path lengths, ECDSA with SHA-384, signatures, dates at
        the given instant;
    (3) the leaf is no CA, and its keyUsage has digitalSignature;
    (4) its key is ECDSA P-384 (`load_key`).

The lists of revoked certificates that AWS's intermediates point to are not read: leaves live three
hours and the issuers above them a day to three weeks. `Collateral.revocation` says "absent".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from sealward.verifier.pki import algorithms, certificate, chain
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.development import DEVELOPMENT_MARKER_OID, DevelopmentRoot
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.pki.chain_cache import Key

LINE: Final = "Nitro"

_ALGORITHMS: Final = frozenset({SignatureAlgorithm.ECDSA_SHA384})
_VENDOR_RULES: Final = chain.Rules(algorithms=_ALGORITHMS, critical=frozenset())
_DEVELOPMENT_RULES: Final = chain.Rules(
    algorithms=_ALGORITHMS, critical=frozenset({DEVELOPMENT_MARKER_OID})
)
_CURVE: Final = "secp384r1"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsedKey:
    """A document's key whose chain held when it was made; its dates are checked at each use.

    Attributes:
        development: the chain ends in a development root.
        window: when the whole chain is valid.
        chain: the subjects, leaf first.
        limits: what ends when, in the document's words: "certificate", "cabundle[3]" and so on.
        key: P-384.
    """

    development: bool
    window: chain.Window
    chain: tuple[str, ...]
    limits: tuple[tuple[str, datetime], ...]
    key: ec.EllipticCurvePublicKey = field(repr=False)


def cache_key(leaf: bytes, cabundle: tuple[bytes, ...], anchors: TrustAnchors) -> Key:
    """Return the name of a chain in a ChainCache, where its value is an EndorsedKey."""
    digests = b"".join(hashlib.sha256(part).digest() for part in (leaf, *cabundle))
    return ("nitro", hashlib.sha256(digests).digest(), anchors.digest)


def load_key(leaf: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of a leaf (DER) that nobody vouches for yet: step 4.

    Raises:
        MalformedEvidence: not a certificate.
        RefusedEvidence: CERTIFICATE_FORBIDDEN.
    """
    return _key(certificate.parse(leaf))


def endorse(
    leaf: bytes, cabundle: tuple[bytes, ...], *, anchors: TrustAnchors, at: datetime
) -> EndorsedKey:
    """Verify a chain (DER; `cabundle` root first) at the aware UTC instant `at`.

    Raises:
        MalformedEvidence: a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    root = certificate.parse(cabundle[0])
    development = _is_development(root, anchors)  # (1)
    path = tuple(certificate.parse(part) for part in (leaf, *reversed(cabundle)))
    rules = _DEVELOPMENT_RULES if development else _VENDOR_RULES
    window = chain.walk(path, rules=rules, now=at)  # (2)
    _check_leaf(path[0])  # (3)
    names = ("certificate", *(f"cabundle[{index}]" for index in reversed(range(len(cabundle)))))
    return EndorsedKey(
        development=development,
        window=window,
        chain=tuple(member.subject.text for member in path),
        limits=tuple((name, one.not_after) for name, one in zip(names, path, strict=True)),
        key=_key(path[0]),  # (4)
    )


def _is_development(root: Certificate, anchors: TrustAnchors) -> bool:
    """Refuse a root that is trusted for other evidence, or for none."""
    anchor = anchors.identify(root.fingerprint)
    development = isinstance(anchor, DevelopmentRoot)
    if anchor.line != LINE or not (
        isinstance(anchor, DevelopmentRoot) or anchor.vendor is Vendor.AWS
    ):
        raise RefusedEvidence(
            Code.ROOT_NOT_PINNED,
            "the chain ends in a root that is trusted for other evidence than Nitro documents",
            expected=LINE,
            actual=anchor.line,
        )
    return development


def _check_leaf(leaf: Certificate) -> None:
    constraints = leaf.basic_constraints
    if (constraints is not None and constraints.ca) or not leaf.digital_signature:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN,
            f"{leaf.subject.text} may not sign documents",
            expected="no CA, and keyUsage digitalSignature",
        )


def _key(leaf: Certificate) -> ec.EllipticCurvePublicKey:
    key = algorithms.load_public_key(leaf.spki, owner=leaf.subject.text)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN, "the key of a Nitro document is not an ECDSA P-384 key"
        )
    return key
