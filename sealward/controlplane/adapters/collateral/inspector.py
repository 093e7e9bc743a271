"""What a file of collateral is, by its first bytes, and whether it holds: one entry for all kinds.

Nothing here is trusted before its signature has led to a pinned root, or in a development
installation to a development root: an import cannot poison what others rest on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealward.controlplane.adapters.collateral import amd, certificates, nvidia
from sealward.controlplane.adapters.collateral.intel import IntelInspector
from sealward.controlplane.domain.collateral import Inspected
from sealward.verifier.formats.dcap import collateral, statement
from sealward.verifier.formats.nvidia_gpu import manifest
from sealward.verifier.formats.snp import vek
from sealward.verifier.pki import certificate
from sealward.verifier.pki import crl as lists
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.certificate import Certificate
from sealward.verifier.rats.collateral import Key, Source
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire import der, pem


@dataclass(frozen=True, slots=True)
class VendorInspector:
    """services.collateral.Inspector over the verifier's parsers.

    Attributes:
        anchors: pinned roots, and development roots in a development installation.
    """

    anchors: TrustAnchors

    def inspect(
        self, data: bytes, *, issuers: bytes, expected: Key | None, held: Source, now: datetime
    ) -> tuple[Inspected, ...]:
        """Return every piece in a file, verified; VerifierError."""
        given = certificates.read(issuers)
        intel = IntelInspector(self.anchors, held, now)
        if statement.looks_like(data):
            return (intel.statement(data, given),)
        if collateral.is_bundle(data):
            return intel.bundle(data)
        if manifest.looks_like(data):
            return (
                nvidia.inspect_manifest(data, expected=expected, anchors=self.anchors, now=now),
            )
        if pem.looks_like(data):
            return self._chain(certificates.read(data), held, now)
        if lists.looks_like(data):
            return (self._list(data, given, expected, held, now),)
        if data[:1] == bytes((der.SEQUENCE,)):
            return (self._vek(certificate.parse(data), given, held, now),)
        raise _unknown()

    def _chain(
        self, chain: tuple[Certificate, ...], held: Source, now: datetime
    ) -> tuple[Inspected, ...]:
        """Return a chain, and the VCEK in front of it when there is one."""
        if len(chain) == 1:
            return (self._vek(chain[0], (), held, now),)
        *leaves, issuer, root = chain
        if len(leaves) > 1:
            raise _unknown()
        found = amd.inspect_chain(issuer, root, anchors=self.anchors, now=now)
        return (found, *(self._vek(leaf, (issuer, root), held, now) for leaf in leaves))

    def _vek(
        self, leaf: Certificate, given: tuple[Certificate, ...], held: Source, now: datetime
    ) -> Inspected:
        if not vek.is_vek(leaf):
            raise _unknown()
        return amd.inspect_vek(leaf, given, held=held, anchors=self.anchors, now=now)

    def _list(
        self,
        data: bytes,
        given: tuple[Certificate, ...],
        expected: Key | None,
        held: Source,
        now: datetime,
    ) -> Inspected:
        if amd.is_list_of_ours(data):
            return amd.inspect_list(
                data, given, expected=expected, held=held, anchors=self.anchors, now=now
            )
        return IntelInspector(self.anchors, held, now).list(data, given)


def _unknown() -> RefusedEvidence:
    return RefusedEvidence(
        Code.UNSUPPORTED_FORMAT,
        "the file is no collateral that this version knows",
        expected="a VCEK, cert_chain or CRL of AMD, a TCB info, QE identity, CRL or"
        " QuoteCollateralV3 bundle of Intel's, a reference manifest of NVIDIA's, or an archive",
        hint="give the file as its vendor publishes it",
    )
