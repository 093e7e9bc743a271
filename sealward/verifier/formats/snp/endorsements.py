"""Endorsements of a report: VEK, intermediate and root, from bytes to a key we believe.

Numbered procedure of `endorse`; evidence-formats section 2 and AMD 57230:

    (1) the root's fingerprint is pinned, or it is an imported development root;
    (2) the VEK is a VCEK or a VLEK, and the three names are those its root's hierarchy uses;
    (3) the chain holds: names, CA rules, RSASSA-PSS with SHA-384, signatures, dates at `now`;
    (4) the VEK's product and structVersion are those of the root's product line;
    (5) its reserved levels are zero, and it has a level for each component of that product;
    (6) its key is ECDSA P-384.

Revocation lists are not read here: revocation.py asks the one that is held of the intermediate.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from sealward.verifier.formats.snp import product as products
from sealward.verifier.formats.snp import tcb, vek
from sealward.verifier.formats.snp.vek import Vek, VekKind
from sealward.verifier.pki import algorithms, certificate, chain
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.development import (
    DEVELOPMENT_MARKER_OID,
    NAME_PREFIX,
    DevelopmentRoot,
)
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.snp.product import Product
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.pki.chain_cache import ChainCache

_VENDOR_RULES: Final = chain.Rules(
    algorithms=frozenset({SignatureAlgorithm.RSA_PSS_SHA384}), critical=frozenset()
)
_DEVELOPMENT_RULES: Final = chain.Rules(
    algorithms=frozenset({SignatureAlgorithm.RSA_PSS_SHA384}),
    critical=frozenset({DEVELOPMENT_MARKER_OID}),
)
_CURVE: Final = "secp384r1"


@dataclass(frozen=True, slots=True)
class Endorsements:
    """The three certificates behind a report, DER, not verified."""

    vek: bytes = field(repr=False)
    intermediate: bytes = field(repr=False)
    root: bytes = field(repr=False)

    def digest(self) -> bytes:
        """SHA-256 over the digests of the three, in this order."""
        parts = (self.vek, self.intermediate, self.root)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsedKey:
    """A VEK whose chain held when it was made; its dates are checked at each use.

    Attributes:
        vek: the extensions.
        product: the product line of root, intermediate and VEK.
        reported_tcb: the eight bytes REPORTED_TCB must have for this key to have signed.
        development: the chain ends in a development root.
        window: when the whole chain is valid.
        serial: the VEK certificate's serial number; AMD's are all 0.
        chain: the subjects, leaf first.
    """

    vek: Vek
    product: Product
    reported_tcb: bytes
    development: bool
    window: chain.Window
    serial: int
    chain: tuple[str, ...]
    key: ec.EllipticCurvePublicKey = field(repr=False)


def endorse(
    endorsements: Endorsements, *, anchors: TrustAnchors, now: datetime, cache: ChainCache
) -> EndorsedKey:
    """Verify a chain to a trusted root at the aware UTC instant `now`, or find it in the cache.

    Raises:
        MalformedEvidence: a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    key = ("snp", endorsements.digest(), anchors.digest)
    endorsed = cache.get(key, EndorsedKey)
    if endorsed is None:
        endorsed = _endorse(endorsements, anchors, now)
        cache.put(key, endorsed)
    endorsed.window.check(now)
    return endorsed


def _endorse(endorsements: Endorsements, anchors: TrustAnchors, now: datetime) -> EndorsedKey:
    root = certificate.parse(endorsements.root)
    anchor = anchors.identify(root.fingerprint)  # (1)
    development = isinstance(anchor, DevelopmentRoot)
    leaf = certificate.parse(endorsements.vek)
    path = (leaf, certificate.parse(endorsements.intermediate), root)
    extensions = vek.parse(leaf)
    _check_names(path, extensions.kind, anchor.line, development=development)  # (2)
    rules = _DEVELOPMENT_RULES if development else _VENDOR_RULES
    window = chain.walk(path, rules=rules, now=now)  # (3)
    product = _product(extensions, anchor.line)  # (4)
    return EndorsedKey(
        vek=extensions,
        product=product,
        reported_tcb=_reported_tcb(extensions, product),  # (5)
        development=development,
        window=window,
        serial=leaf.serial,
        chain=tuple(member.subject.text for member in path),
        key=_key(leaf),  # (6)
    )


def _check_names(
    path: tuple[Certificate, ...], kind: VekKind, line: str, *, development: bool
) -> None:
    """Refuse a chain whose members play other roles: an ASK does not issue VLEKs."""
    vlek = kind is VekKind.VLEK
    if development:
        intermediate = "ASVK" if vlek else "ASK"
        roles = (kind.upper(), intermediate, "ARK")
        expected = tuple(f"{NAME_PREFIX}{role} {line}" for role in roles)
    else:
        issuer = f"SEV-VLEK-{line}" if vlek else f"SEV-{line}"
        expected = (f"SEV-{kind.upper()}", issuer, f"ARK-{line}")
    actual = tuple(member.subject.common_name for member in path)
    if actual != expected:
        raise RefusedEvidence(
            Code.CHAIN_BROKEN,
            f"the certificates are not the {kind.upper()} chain of {line}",
            expected=" <- ".join(expected),
            actual=" <- ".join(str(name) for name in actual),
        )


def _product(extensions: Vek, line: str) -> Product:
    product = products.of_name(extensions.product_name)
    if product != line or extensions.struct_version != product.struct_version:
        raise RefusedEvidence(
            Code.PRODUCT_MISMATCH,
            "the endorsement key is for another product than its root",
            claim="product",
            expected=line,
            actual=f"{extensions.product_name}, structVersion {extensions.struct_version}",
        )
    return product


def _reported_tcb(extensions: Vek, product: Product) -> bytes:
    reserved = (extensions.spl4, extensions.spl5, extensions.spl6, extensions.spl7)
    has_fmc = extensions.fmc is not None
    if any(reserved) or has_fmc != tcb.has_component(product, "fmc"):
        raise RefusedEvidence(
            Code.TCB_MISMATCH,
            f"the endorsement key has patch levels that {product} does not have, or lacks one",
            claim="tcb.reported",
        )
    components = {
        "fmc": extensions.fmc or 0,
        "bootloader": extensions.bl,
        "tee": extensions.tee,
        "snp": extensions.snp,
        "microcode": extensions.ucode,
    }
    return tcb.encode(components, product)


def _key(leaf: Certificate) -> ec.EllipticCurvePublicKey:
    key = algorithms.load_public_key(leaf.spki, owner=leaf.subject.text)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN, "the endorsement key is not an ECDSA P-384 key"
        )
    return key
