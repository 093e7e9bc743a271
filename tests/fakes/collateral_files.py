"""Collateral as vendors publish it, minted under development roots; valid at `NOW`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from fakes import dcap_fixtures, snp_fixtures
from fakes.admin_plane import AdminPlane
from fakes.snp_fixtures import NOW, VALIDITY
from sealward_devkit.dcap.collateral import TcbInfo, judging, mint_collateral
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.pki.revocation import revocation_list

from sealward.controlplane.adapters.collateral.certificates import write
from sealward.controlplane.adapters.collateral.inspector import VendorInspector
from sealward.controlplane.adapters.evidence_verifier import LibraryVerifier
from sealward.controlplane.services.collateral import CollateralStore
from sealward.controlplane.services.collateral_forecast import Forecasts
from sealward.controlplane.services.collateral_view import CollateralBook
from sealward.controlplane.services.reverification import Reverifier
from sealward.verifier.formats.dcap import statement
from sealward.verifier.pki import certificate
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.development import import_root

__all__ = ["NOW", "VALIDITY"]

ARK = "Sealward Development ARK Milan"


def anchors() -> TrustAnchors:
    """The development roots of AMD's and Intel's shape."""
    roots = (snp_fixtures.hierarchy().ark, dcap_fixtures.hierarchy().root)
    return TrustAnchors(development_roots=tuple(import_root(der, now=NOW) for der in roots))


def store(plane: AdminPlane) -> CollateralStore:
    """The use cases in an installation that trusts these roots."""
    return replace(plane.services.collateral, inspector=VendorInspector(anchors()))


def forecasts(plane: AdminPlane) -> Forecasts:
    """The forecast over that store."""
    verifier = LibraryVerifier(anchors())
    return replace(
        plane.services.forecasts,
        store=store(plane),
        reverifier=Reverifier(verifier, CollateralBook(plane.database), plane.database),
    )


def pem(*ders: bytes) -> bytes:
    """Certificates as PEM."""
    return write(*(certificate.parse(der) for der in ders))


def amd_chain() -> bytes:
    """What /vcek/v1/Milan/cert_chain answers."""
    made = snp_fixtures.hierarchy()
    return pem(made.ask, made.ark)


def amd_crl(*, number: int = 1, issued_days: float = 0.5, **how: Any) -> bytes:  # noqa: ANN401 - passed on
    """What /vcek/v1/Milan/crl answers; issued so many days before `NOW`."""
    issued = NOW - timedelta(days=issued_days)
    updates = Validity(issued, issued + timedelta(days=3))
    return revocation_list(ARK, snp_fixtures.root_keys().ark, updates, number=number, **how)


def bundle(**changes: Any) -> bytes:  # noqa: ANN401 - fields of TcbInfo
    """A QuoteCollateralV3 document for TDX."""
    return _minted(dcap_fixtures.tcb_info(**changes)).to_json().encode()


def tcb_info(status: str | None = None, advisories: tuple[str, ...] = (), **changes: Any) -> bytes:  # noqa: ANN401 - fields of TcbInfo
    """What the PCS answers for a TCB info, with its signer's chain behind it."""
    info = dcap_fixtures.tcb_info(**changes)
    made = _minted(info if status is None else judging(info, status, advisories))
    return statement.join(
        "tcbInfo", made.tcb_info, made.tcb_info_signature.hex(), made.tcb_info_issuer_chain
    )


def _minted(info: TcbInfo) -> Any:  # noqa: ANN401 - the devkit's Collateral
    return mint_collateral(dcap_fixtures.hierarchy(), info, dcap_fixtures.qe_identity())
