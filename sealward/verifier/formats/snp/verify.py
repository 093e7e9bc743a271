"""Authenticates a SEV-SNP report.

Numbered procedure of `authenticate`:

    (1) the report parses: size, version, reserved ranges (report.py);
    (2) its VEK is endorsed by a trusted root, dates at `now` included (endorsements.py);
    (3) the report names the kind of key that is endorsed: VCEK or VLEK;
    (4) the processor it names, from version 3 on, is of the product line of the VEK;
    (5) REPORTED_TCB is, component by component, the TCB the VEK was made for, and no TCB uses
        bytes that the product does not have;
    (6) for a VCEK, CHIP_ID is the chip of the certificate, or all zero where the host masks it;
    (7) r and s are in 1..n-1, and the ECDSA P-384 signature over the signed region verifies.

The caller MUST check that REPORT_DATA binds what it expects and that this is fresh: a report by
itself proves neither (docs/specs/evidence-binding.md).

Checks that could make sense but do not exist:
  - low s: AMD's firmware emits either half, so a report has two valid signatures; replay
    protection must rest on nonces, never on digests of evidence;
  - REPORTED_TCB against CURRENT or COMMITTED: it may be lower by choice of the host (AWS), and
    CURRENT may be above COMMITTED (Azure); floors are the appraisal policy's;
  - CHIP_ID under a VLEK: nothing certifies it, so it is not turned into a claim.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealward.verifier.formats.snp import product as products
from sealward.verifier.formats.snp import report as reports
from sealward.verifier.formats.snp import tcb
from sealward.verifier.formats.snp.endorsements import EndorsedKey, endorse
from sealward.verifier.formats.snp.vek import VekKind
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.snp.endorsements import Endorsements
    from sealward.verifier.formats.snp.report import Report
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.rats.claims import SecurityVersions

# Order of the P-384 group (FIPS 186-5, SP 800-186 section 3.2.1.4).
P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffff"
    "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)
_ECDSA_SHA384: Final = ec.ECDSA(hashes.SHA384())
_MASKED_CHIP: Final = bytes(64)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReport:
    """A report whose signature, chain, TCB and chip were checked; built only by `authenticate`.

    Attributes:
        report: the parsed report.
        endorsed: the key that signed it.
        tcb: reported, committed, current, launch.
        evidence_sha256: of the report as given.
        signed_sha256: of its signed region.
    """

    report: Report
    endorsed: EndorsedKey
    tcb: tuple[SecurityVersions, ...]
    evidence_sha256: str = field(repr=False)
    signed_sha256: str = field(repr=False)


def authenticate(
    data: bytes,
    endorsements: Endorsements,
    *,
    anchors: TrustAnchors,
    now: datetime,
    cache: ChainCache,
) -> VerifiedReport:
    """Run the procedure above on the bytes of a report, at the aware UTC instant `now`.

    Raises:
        MalformedEvidence: the report or a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    report = reports.parse(data)  # (1)
    endorsed = endorse(endorsements, anchors=anchors, now=now, cache=cache)  # (2)
    check_key_kind(report, endorsed)  # (3)
    check_product(report, endorsed)  # (4)
    versions = check_tcb(report, endorsed)  # (5)
    check_chip(report, endorsed)  # (6)
    signed = reports.signed_region(data)
    check_signature(report, signed, endorsed.key)  # (7)
    return VerifiedReport(
        report=report,
        endorsed=endorsed,
        tcb=versions,
        evidence_sha256=hashlib.sha256(data).hexdigest(),
        signed_sha256=hashlib.sha256(signed).hexdigest(),
    )


def check_key_kind(report: Report, endorsed: EndorsedKey) -> None:
    """Step 3. Raises RefusedEvidence KEY_KIND_MISMATCH, for a report that nobody signed too."""
    kind = endorsed.vek.kind
    expected = reports.SigningKey.VCEK if kind is VekKind.VCEK else reports.SigningKey.VLEK
    if report.signing_key is not expected:
        raise RefusedEvidence(
            Code.KEY_KIND_MISMATCH,
            "the report says it was signed by another kind of key than the one endorsed",
            expected=kind.value,
            actual=report.signing_key.name.lower(),
        )


def check_product(report: Report, endorsed: EndorsedKey) -> None:
    """Step 4. Raises RefusedEvidence PRODUCT_MISMATCH or UNSUPPORTED_FORMAT.

    Version 2 reports do not name a processor: their product is the VEK's.
    """
    if not report.has_cpuid:
        return
    named = products.of_cpuid(report.cpuid_family, report.cpuid_model)
    if named is not endorsed.product:
        raise RefusedEvidence(
            Code.PRODUCT_MISMATCH,
            "the report names another product line than its endorsement key",
            claim="product",
            expected=endorsed.product,
            actual=named,
        )


def check_tcb(report: Report, endorsed: EndorsedKey) -> tuple[SecurityVersions, ...]:
    """Step 5. Raises RefusedEvidence TCB_MISMATCH."""
    if report.reported_tcb != endorsed.reported_tcb:
        expected = tcb.decode("reported", endorsed.reported_tcb, endorsed.product)
        raise RefusedEvidence(
            Code.TCB_MISMATCH,
            "the endorsement key was made for another TCB than the report names",
            claim="tcb.reported",
            expected=" ".join(f"{name}={value}" for name, value in expected.components),
            actual=report.reported_tcb.hex(),
        )
    return (
        tcb.decode("reported", report.reported_tcb, endorsed.product),
        tcb.decode("committed", report.committed_tcb, endorsed.product),
        tcb.decode("current", report.current_tcb, endorsed.product),
        tcb.decode("launch", report.launch_tcb, endorsed.product),
    )


def check_chip(report: Report, endorsed: EndorsedKey) -> None:
    """Step 6. Raises RefusedEvidence CHIP_MISMATCH.

    A masked CHIP_ID passes: the key that signed is certified for one chip, and the claim
    `platform_id` names that chip whatever the report says of it.
    """
    hwid = endorsed.vek.hwid
    if hwid is None or report.chip_id == _MASKED_CHIP:
        return
    if len(hwid) != endorsed.product.chip_id_size or report.chip_id != hwid.ljust(64, b"\0"):
        raise RefusedEvidence(
            Code.CHIP_MISMATCH,
            "the endorsement key belongs to another chip",
            claim="platform_id",
            expected=hwid.hex(),
            actual=report.chip_id.hex(),
        )


def check_signature(report: Report, signed: bytes, key: ec.EllipticCurvePublicKey) -> None:
    """Step 7. Raises RefusedEvidence SIGNATURE_INVALID."""
    r, s = report.signature_r, report.signature_s
    if not (0 < r < P384_ORDER and 0 < s < P384_ORDER):
        raise RefusedEvidence(Code.SIGNATURE_INVALID, "the signature's r or s is out of range")
    try:
        key.verify(encode_dss_signature(r, s), signed, _ECDSA_SHA384)
    except InvalidSignature:
        raise RefusedEvidence(
            Code.SIGNATURE_INVALID, "the report's signature does not verify under its VEK"
        ) from None
