"""A virtual TPM of Google Compute Engine: quote, Google's certificate of its key, event log.

Numbered procedure of `authenticate`:

    (1) the quote is authenticated under the attestation key (formats/tpm/quote.py);
    (2) Google's certificate chains to a pinned root and names a virtual machine (formats/gce);
    (3) the key that signed is the certified one: no credential need be activated, for Google, who
        runs the TPM, says whose it is;
    (4) the event log, when there is one, is held against the quoted PCRs (measured_boot.py).

What an EK certificate or a lock object would say beside it is not looked at: a node whose keys are
to be locked to its TPM is a TPM node (tpm_node.py), also at Google's.

The caller MUST check that `claims.report_data` binds what it expects.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sealward.verifier.composite import measured_boot
from sealward.verifier.formats.gce import attestation_key
from sealward.verifier.formats.gce import claims as gce_claims
from sealward.verifier.formats.gce.claims import GoogleSection
from sealward.verifier.formats.tpm import claims as tpm_claims
from sealward.verifier.formats.tpm import quote
from sealward.verifier.rats import distrust
from sealward.verifier.rats.claims import Collateral, KeyResidency, Scope, Scopes, Tee

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.gce.attestation_key import EndorsedAk
    from sealward.verifier.formats.tpm.evidence import Evidence
    from sealward.verifier.formats.tpm.quote import VerifiedQuote
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.rats.claims import Claims
    from sealward.verifier.rats.distrust import DistrustEntry

PROVIDER: Final = "google"
_PRODUCT: Final = "TPM 2.0 Google vTPM"

# A virtual machine keeps its id, its zone and its TPM's keys for its life.
SCOPES: Final = Scopes({**tpm_claims.SCOPES.held, gce_claims.SECTION: Scope.LAUNCH})


@dataclass(frozen=True, slots=True)
class VerifiedInstance:
    """What `authenticate` found: claims, and quote and certified key behind them."""

    claims: Claims
    quote: VerifiedQuote = field(repr=False)
    ak: EndorsedAk = field(repr=False)


def authenticate(
    evidence: Evidence,
    certificates: tuple[bytes, ...],
    *,
    anchors: TrustAnchors,
    now: datetime,
    cache: ChainCache,
    distrusted: tuple[DistrustEntry, ...] = (),
) -> VerifiedInstance:
    """Run the procedure above at the aware UTC instant `now`.

    Args:
        evidence: of the TPM.
        certificates: DER, the certificate of the attestation key first; of those above it the
            order is free.
        anchors: the roots trusted here.
        now: the instant.
        cache: what was verified before.
        distrusted: the distrust list.

    Raises:
        MalformedEvidence: a part does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    ak = quote.read_key(evidence.ak_public, cache)
    verified = quote.authenticate(evidence.message, evidence.signature, ak, evidence.pcrs)  # (1)
    leaf, *above = certificates
    endorsed = attestation_key.endorse(leaf, above, anchors=anchors, now=now, cache=cache)  # (2)
    attestation_key.check_key(endorsed, ak.key)  # (3)
    quote.keep_key(evidence.ak_public, ak, cache)
    boot = None
    if evidence.event_log is not None:  # (4)
        boot = measured_boot.confirm(evidence.event_log, verified.pcrs)
    found = tpm_claims.normalise(
        verified, now=now, tee=Tee.GOOGLE_VTPM, residency=KeyResidency.CERTIFIED, boot=boot
    )
    claims = replace(
        found,
        product=_PRODUCT,
        platform_id=gce_claims.platform_id(endorsed.instance),
        provider=PROVIDER,
        collateral=Collateral(
            not_before=endorsed.window.not_before, not_after=endorsed.window.not_after
        ),
        scopes=SCOPES,
        sections=(GoogleSection(endorsed.instance),),
    )
    return VerifiedInstance(distrust.apply(claims, distrusted), verified, endorsed)
