"""Verifying minted Intel evidence under its development root, by us and by dcap-qvl."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import dcap_qvl
from fakes import dcap_fixtures, dcap_vectors
from fakes.dcap_vectors import Held
from fakes.snp_fixtures import NOW, VALIDITY, without_extension
from sealward_devkit.dcap.collateral import Collateral, mint_collateral
from sealward_devkit.dcap.platform import Tee
from sealward_devkit.pki.certificates import sign_certificate
from sealward_devkit.pki.extensions import DEVELOPMENT_MARKER_OID
from sealward_devkit.pki.roots import DCAP_ROOT, root_template

from sealward.verifier.formats.dcap import verify
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.dcap.verify import VerifiedQuote


@cache
def anchors() -> TrustAnchors:
    return TrustAnchors(development_roots=(import_root(dcap_fixtures.hierarchy().root, now=NOW),))


def source(minted: Collateral) -> Held:
    return Held(dcap_vectors.pieces(minted.to_json().encode()))


def check(
    data: bytes, minted: Collateral, *, now: datetime = NOW, held: Held | None = None
) -> VerifiedQuote:
    return verify.authenticate(
        data, held or source(minted), anchors=anchors(), now=now, cache=ChainCache()
    )


def statements(
    info: dict[str, Any] | None = None,
    identity: dict[str, Any] | None = None,
    *,
    tee: Tee = Tee.TDX,
    revoked: tuple[int, ...] = (),
) -> Collateral:
    return mint_collateral(
        dcap_fixtures.hierarchy(),
        dcap_fixtures.tcb_info(tee, **(info or {})),
        dcap_fixtures.qe_identity(tee, **(identity or {})),
        revoked=revoked,
    )


@cache
def twin() -> bytes:
    """The root without its marker: dcap-qvl refuses a critical extension that it does not know."""
    key = dcap_fixtures.root_keys().root
    marked = root_template(DCAP_ROOT, key.public_key(), VALIDITY)
    return sign_certificate(without_extension(marked, DEVELOPMENT_MARKER_OID), key)


def theirs(data: bytes, minted: Collateral) -> dcap_qvl.VerifiedReport:
    read = dcap_qvl.QuoteCollateralV3.from_json(minted.to_json())
    return dcap_qvl.verify_with_root_ca(data, read, twin(), int(NOW.timestamp()))
