"""The verifier as a relying party of minted SNP evidence runs it: one call, or one refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes import snp_fixtures
from fakes.snp_fixtures import NOW
from sealward_devkit.snp.products import Product

from sealward.verifier.formats.snp.claims import normalise
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.formats.snp.verify import authenticate
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.errors import RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from fakes.snp_fixtures import Minted

    from sealward.verifier.rats.claims import Claims


def anchors(product: Product = Product.MILAN) -> TrustAnchors:
    """The vendor's roots and the development root of one product."""
    return anchors_of(snp_fixtures.hierarchy(product).ark)


def anchors_of(*roots: bytes) -> TrustAnchors:
    """The vendor's roots and these development roots (DER), imported as an operator would."""
    return TrustAnchors(development_roots=tuple(import_root(root, now=NOW) for root in roots))


def verify(
    minted: Minted,
    *,
    trusted: TrustAnchors | None = None,
    now: datetime = NOW,
    cache: ChainCache | None = None,
) -> Claims:
    """Authenticate and normalise, trusting by default the root that came along, and only it."""
    verified = authenticate(
        minted.report,
        Endorsements(minted.vek, minted.intermediate, minted.root),
        anchors=anchors_of(minted.root) if trusted is None else trusted,
        now=now,
        cache=ChainCache() if cache is None else cache,
    )
    return normalise(verified, now=now)


def refusal(
    minted: Minted, *, trusted: TrustAnchors | None = None, now: datetime = NOW
) -> RefusedEvidence:
    """The refusal that `verify` must end in."""
    with pytest.raises(RefusedEvidence) as caught:
        verify(minted, trusted=trusted, now=now)
    return caught.value
