"""Authenticates a Hygon CSV report of version 1.

Numbered procedure of `authenticate`:

    (1) the report parses: size, usage and algorithm of its signature, reserved ranges (report.py);
    (2) the mac fits the PEK, the serial number and the mnonce;
    (3) its PEK is endorsed by the pinned HRK (endorsements.py);
    (4) the SM2 signature over its first 180 bytes, as they stand, verifies under the PEK.

Step 2 finds accidents alone, its key being in the report, and costs no arithmetic on curves; it is
no part of what makes a report genuine. Step 4 covers masked bytes and not the mask, so that a whole
report can be shown under another mask: no field of it is proven but together with a measurement
that somebody knows (README.md).

The caller MUST check that report_data binds what it expects and that this is fresh: a report has no
date, and neither has any certificate of its chain.

Checks that could make sense but do not exist:
  - vm_id, vm_version and user_pubkey_digest: the guest's owner chose them, policies compare them;
  - the serial number against the CEK: the CEK does not name it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from sealward.verifier.formats.hygon_csv import report as reports
from sealward.verifier.formats.hygon_csv.endorsements import EndorsedKey, endorse
from sealward.verifier.pki import sm2
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from sealward.verifier.formats.hygon_csv.endorsements import Endorsements
    from sealward.verifier.formats.hygon_csv.report import Report
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.chain_cache import ChainCache


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReport:
    """A report whose signature and chain were checked; built only by `authenticate`.

    Attributes:
        report: the parsed report.
        endorsed: the key that signed it.
        evidence_sha256: of the report as given, lower-case hex.
        signed_sha256: of its signed region.
    """

    report: Report
    endorsed: EndorsedKey
    evidence_sha256: str = field(repr=False)
    signed_sha256: str = field(repr=False)


def authenticate(
    data: bytes, endorsements: Endorsements, *, anchors: TrustAnchors, cache: ChainCache
) -> VerifiedReport:
    """Run the procedure above on the bytes of a report.

    Raises:
        MalformedEvidence: the report or a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    report = reports.parse(data)  # (1)
    check_mac(report)  # (2)
    endorsed = endorse(report, endorsements, anchors=anchors, cache=cache)  # (3)
    check_signature(report, endorsed)  # (4)
    return VerifiedReport(
        report=report,
        endorsed=endorsed,
        evidence_sha256=hashlib.sha256(data).hexdigest(),
        signed_sha256=hashlib.sha256(report.signed).hexdigest(),
    )


def check_mac(report: Report) -> None:
    """Step 2. Raises RefusedEvidence SIGNATURE_INVALID."""
    mac = HMAC(report.mnonce, hashes.SM3())
    mac.update(report.maced)
    try:
        mac.verify(report.mac)
    except InvalidSignature:
        raise RefusedEvidence(
            Code.SIGNATURE_INVALID,
            "the report's mac does not fit its PEK, serial number and nonce",
            hint="the report was damaged on its way: ask the guest for a new one",
        ) from None


def check_signature(report: Report, endorsed: EndorsedKey) -> None:
    """Step 4. Raises RefusedEvidence SIGNATURE_INVALID."""
    user_id = endorsed.user_id
    if not sm2.verifies(endorsed.key, report.signature, report.signed, user_id=user_id):
        raise RefusedEvidence(
            Code.SIGNATURE_INVALID, "the report's signature does not verify under its PEK"
        )
