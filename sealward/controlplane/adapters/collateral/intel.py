"""What Intel's provisioning certification service publishes (PCS v4), in any form it comes in.

Statements carry the chain of their signer behind them; a revocation list is verified under the
chain that came beside it, or, the root's own, under the root of a statement that is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sealward.controlplane.adapters.collateral import certificates
from sealward.controlplane.domain.collateral import Inspected
from sealward.verifier.formats.dcap import collateral, issuers, statement
from sealward.verifier.formats.dcap.collateral import Edition, Signed
from sealward.verifier.formats.dcap.tcb_info import QeIdentity, TcbInfo
from sealward.verifier.pki import chain
from sealward.verifier.pki import crl as lists
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.certificate import Certificate
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import DEVELOPMENT_MARKER_OID, DevelopmentRoot
from sealward.verifier.rats.collateral import Key, Kind, Source
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire import json

_VENDOR_RULES: Final = chain.Rules(algorithms=issuers.ALGORITHMS, critical=frozenset())
_DEVELOPMENT_RULES: Final = chain.Rules(
    algorithms=issuers.ALGORITHMS, critical=frozenset({DEVELOPMENT_MARKER_OID})
)
_WITH_A_ROOT: Final = (Key(Kind.INTEL_QE_IDENTITY, "tdx"), Key(Kind.INTEL_QE_IDENTITY, "sgx"))


@dataclass(frozen=True, slots=True)
class IntelInspector:
    """Verifies Intel's pieces at one instant.

    Attributes:
        anchors: the roots trusted here.
        held: where a root may be that did not come along.
        now: aware UTC.
    """

    anchors: TrustAnchors
    held: Source
    now: datetime

    def bundle(self, data: bytes) -> tuple[Inspected, ...]:
        """Verify all of a QuoteCollateralV3 document; VerifierError."""
        found = collateral.bundle(data)
        members = statement.Members(
            json.decode(data, what="collateral", max_bytes=collateral.MAX_BUNDLE_BYTES),
            "collateral",
        )
        beside = certificates.read(members.text("pck_crl_issuer_chain").encode("ascii", "replace"))
        return (
            self.statement(found.tcb_info),
            self.statement(found.qe_identity),
            self.list(found.pck_crl, beside),
            self.list(found.root_crl, beside[-1:]),
        )

    def statement(self, data: bytes, given: tuple[Certificate, ...] = ()) -> Inspected:
        """Verify a TCB info or QE identity; its signer's chain is behind it, or came beside it."""
        if given and not statement.split(data).chain:
            data = data.rstrip(b"\r\n") + b"\n" + certificates.write(*given)
        key = collateral.key_of(data)
        signed: Signed[TcbInfo] | Signed[QeIdentity]
        if key.kind is Kind.INTEL_TCB_INFO:
            signed = collateral.read_tcb_info(
                data, anchors=self.anchors, now=self.now, cache=ChainCache(1)
            )
        else:
            signed = collateral.read_qe_identity(
                data, anchors=self.anchors, now=self.now, cache=ChainCache(1)
            )
        return _inspected(
            collateral.edition_of_statement(key, signed.value),
            data,
            b"",
            signed.signer.leaf.subject.text,
            development=signed.signer.development,
        )

    def list(self, data: bytes, given: tuple[Certificate, ...]) -> Inspected:
        """Verify a revocation list of a PCK CA or of the root; VerifierError."""
        crl = lists.parse(data)
        key = collateral.crl_key(crl)
        if key is None:
            raise RefusedEvidence(
                Code.UNSUPPORTED_FORMAT,
                f"the revocation list of {crl.issuer.text} is none that is kept here",
                expected="a list of AMD's roots, of Intel's root or of its PCK CAs",
            )
        path = given if key.kind is Kind.INTEL_PCK_CRL else (given[-1:] or self._held_root())
        if not path:
            raise RefusedEvidence(
                Code.ENDORSEMENT_MISSING,
                f"nothing vouches for the list of {crl.issuer.text}",
                hint="import it in a QuoteCollateralV3 bundle, which has its issuer's chain",
            )
        anchor = self.anchors.identify(path[-1].fingerprint)
        development = isinstance(anchor, DevelopmentRoot)
        if anchor.line != issuers.LINE:
            raise RefusedEvidence(
                Code.ROOT_NOT_PINNED,
                "the chain ends in a root that endorses no Intel platforms",
                expected=issuers.LINE,
                actual=anchor.line,
            )
        chain.walk(path, rules=_DEVELOPMENT_RULES if development else _VENDOR_RULES, now=self.now)
        collateral.read_crl(data, path[0], now=self.now, cache=ChainCache(1))
        return _inspected(
            collateral.edition_of_crl(key, crl),
            data,
            certificates.write(*path),
            path[0].subject.text,
            development=development,
        )

    def _held_root(self) -> tuple[Certificate, ...]:
        for key in _WITH_A_ROOT:
            data = self.held.get(key)
            if data is not None:
                return certificates.read(statement.split(data).chain)[-1:]
        return ()


def _inspected(
    edition: Edition, data: bytes, issuers_pem: bytes, signer: str, *, development: bool
) -> Inspected:
    return Inspected(
        key=edition.key,
        content=data,
        issuers=issuers_pem,
        issued=edition.issued,
        next_update=edition.next_update,
        number=edition.number,
        signer=signer,
        development=development,
    )
