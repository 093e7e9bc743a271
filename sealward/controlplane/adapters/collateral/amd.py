"""What AMD's key distribution service publishes: endorsement keys, their chains, revocation lists.

Paths and forms are those of AMD 57230 section 4. A list names its issuer, which is the root of a
product line, and not whether it is the VCEKs' or the VLEKs' list: without being told it counts as
the VCEKs'.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sealward.controlplane.adapters.collateral import certificates
from sealward.controlplane.domain.collateral import Inspected
from sealward.verifier.formats.snp import endorsements as snp
from sealward.verifier.formats.snp import product as products
from sealward.verifier.formats.snp import vek
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.formats.snp.product import Product
from sealward.verifier.formats.snp.vek import VekKind
from sealward.verifier.pki import chain
from sealward.verifier.pki import crl as lists
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.certificate import Certificate
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import (
    DEVELOPMENT_MARKER_OID,
    NAME_PREFIX,
    DevelopmentRoot,
)
from sealward.verifier.rats.collateral import Key, Kind, Source
from sealward.verifier.rats.errors import Code, RefusedEvidence

_ALGORITHMS: Final = frozenset({SignatureAlgorithm.RSA_PSS_SHA384})
_VENDOR_RULES: Final = chain.Rules(algorithms=_ALGORITHMS, critical=frozenset())
_DEVELOPMENT_RULES: Final = chain.Rules(
    algorithms=_ALGORITHMS, critical=frozenset({DEVELOPMENT_MARKER_OID})
)
_CHAIN_FIRST: Final = "import the chain of its product line first: /vcek/v1/<line>/cert_chain"


@dataclass(frozen=True, slots=True)
class VerifiedChain:
    """ASK or ASVK and ARK that were verified: a chain of one line and one kind of key."""

    line: str
    kind: VekKind
    issuer: Certificate
    root: Certificate
    development: bool
    window: chain.Window


def chain_key(line: str, kind: VekKind) -> Key:
    """Return the name of a chain."""
    return Key(Kind.AMD_CHAIN, f"{line}/{kind.value}")


def inspect_chain(
    issuer: Certificate, root: Certificate, *, anchors: TrustAnchors, now: datetime
) -> Inspected:
    """Verify what a `cert_chain` file holds; VerifierError."""
    verified = verify_chain(issuer, root, anchors=anchors, now=now)
    return Inspected(
        key=chain_key(verified.line, verified.kind),
        content=certificates.write(issuer, root),
        issued=issuer.not_before,
        next_update=verified.window.not_after,
        number=None,
        signer=root.subject.text,
        development=verified.development,
    )


def verify_chain(
    issuer: Certificate, root: Certificate, *, anchors: TrustAnchors, now: datetime
) -> VerifiedChain:
    """Verify an ASK or ASVK below its pinned ARK, by name and signature; VerifierError."""
    anchor = anchors.identify(root.fingerprint)
    development = isinstance(anchor, DevelopmentRoot)
    rules = _DEVELOPMENT_RULES if development else _VENDOR_RULES
    window = chain.walk((issuer, root), rules=rules, now=now)
    return VerifiedChain(
        line=anchor.line,
        kind=_kind(issuer, anchor.line),
        issuer=issuer,
        root=root,
        development=development,
        window=window,
    )


def inspect_vek(
    leaf: Certificate,
    given: tuple[Certificate, ...],
    *,
    held: Source,
    anchors: TrustAnchors,
    now: datetime,
) -> Inspected:
    """Verify a VCEK below the chain that came with it, or the one that is held.

    Raises:
        VerifierError: it does not hold, or there is no chain; VLEKs are their providers' to give.
    """
    extensions = vek.parse(leaf)
    if extensions.hwid is None:
        raise RefusedEvidence(
            Code.UNSUPPORTED_FORMAT,
            "a VLEK belongs to a provider and is published nowhere",
            hint="it comes with the evidence; only VCEKs are kept here",
        )
    issuer, root = _pair(given) or _chain_of(products.of_name(extensions.product_name), held)
    endorsed = snp.endorse(
        Endorsements(leaf.der, issuer.der, root.der), anchors=anchors, now=now, cache=ChainCache(1)
    )
    return Inspected(
        key=vek_key(endorsed.product, extensions.hwid, endorsed.reported_tcb),
        content=leaf.der,
        issuers=certificates.write(issuer, root),
        issued=leaf.not_before,
        next_update=leaf.not_after,
        number=None,
        signer=leaf.issuer.text,
        development=endorsed.development,
    )


def vek_key(product: Product, hwid: bytes, tcb: bytes) -> Key:
    """Return the name of a VCEK: product line, chip, and the TCB that it was made for."""
    return Key(Kind.AMD_VEK, f"{product.value}/{hwid.hex()}/{tcb.hex()}")


def inspect_list(
    data: bytes,
    given: tuple[Certificate, ...],
    *,
    expected: Key | None,
    held: Source,
    anchors: TrustAnchors,
    now: datetime,
) -> Inspected:
    """Verify a revocation list under the root of its product line; VerifierError."""
    crl = lists.parse(data)
    line = (crl.issuer.common_name or "").replace(" ", "-").rpartition("-")[2]
    name = f"{line}/{VekKind.VCEK}"
    if expected is not None and expected.name in {f"{line}/{kind}" for kind in VekKind}:
        name = expected.name
    issuer, root = _pair(given) or _chain_of(line, held)
    verified = verify_chain(issuer, root, anchors=anchors, now=now)
    lists.verify(crl, root, allowed=_ALGORITHMS)
    crl.check_dates(now)
    return Inspected(
        key=Key(Kind.AMD_CRL, name),
        content=data,
        issuers=certificates.write(issuer, root),
        issued=crl.this_update,
        next_update=crl.next_update,
        number=crl.number,
        signer=root.subject.text,
        development=verified.development,
    )


def is_list_of_ours(data: bytes) -> bool:
    """Whether a revocation list was issued by a root of AMD's or its development stand-in."""
    name = lists.parse(data).issuer.common_name or ""
    return name.startswith(("ARK-", f"{NAME_PREFIX}ARK "))


def _pair(given: tuple[Certificate, ...]) -> tuple[Certificate, Certificate] | None:
    """Return the two certificates that came beside a piece; None when nothing came."""
    if not given:
        return None
    if len(given) != 2:  # noqa: PLR2004 - intermediate and root
        raise RefusedEvidence(
            Code.CHAIN_BROKEN,
            "what came beside it is not an intermediate and its root",
            expected="2 certificates",
            actual=str(len(given)),
        )
    return given[0], given[1]


def _kind(issuer: Certificate, line: str) -> VekKind:
    name = issuer.subject.common_name
    for kind, ours, development in (
        (VekKind.VCEK, f"SEV-{line}", f"{NAME_PREFIX}ASK {line}"),
        (VekKind.VLEK, f"SEV-VLEK-{line}", f"{NAME_PREFIX}ASVK {line}"),
    ):
        if name in {ours, development}:
            return kind
    raise RefusedEvidence(
        Code.CHAIN_BROKEN,
        f"{issuer.subject.text} issues no endorsement keys of {line}",
        expected=f"SEV-{line} or SEV-VLEK-{line}",
        actual=issuer.subject.text,
    )


def _chain_of(line: str, held: Source) -> tuple[Certificate, Certificate]:
    for kind in VekKind:
        data = held.get(chain_key(line, kind))
        if data is not None:
            issuer, root = certificates.read(data)
            return issuer, root
    raise RefusedEvidence(
        Code.ENDORSEMENT_MISSING,
        f"no chain of {line!r} is held that could vouch for it",
        hint=_CHAIN_FIRST,
        needs=(chain_key(line, VekKind.VCEK),),
    )
