"""Authenticates a report of a GPU or switch.

Numbered procedure of `authenticate`:

    (1) the report parses (report.py, opaque.py);
    (2) its key is endorsed by a trusted root, dates at `now` included (chain.py);
    (3) r and s are in 1..n-1, and the ECDSA P-384 signature over request and answer verifies;
    (4) the firmware that the report names, where it does, is the one the key was made for.

The caller MUST check that the nonce is one it gave. What the digests are worth is said by manifests
(compare.py), and revocation by OCSP answers (revocation.py): neither is looked at here.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealward.verifier.formats.nvidia_gpu import report as reports
from sealward.verifier.formats.nvidia_gpu.chain import EndorsedKey, endorse
from sealward.verifier.formats.nvidia_gpu.opaque import Type
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.nvidia_gpu.report import Report
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.chain_cache import ChainCache

# Order of the P-384 group (FIPS 186-5, SP 800-186 section 3.2.1.4).
P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffff"
    "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)
_ECDSA_SHA384: Final = ec.ECDSA(hashes.SHA384())


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReport:
    """A report whose signature, chain and firmware were checked; built only by `authenticate`.

    Attributes:
        report: the parsed report.
        endorsed: the key that signed it.
        evidence_sha256: of the report as given, lower-case hex.
        signed_sha256: of what is signed.
    """

    report: Report
    endorsed: EndorsedKey
    evidence_sha256: str = field(repr=False)
    signed_sha256: str = field(repr=False)

    @property
    def is_switch(self) -> bool:
        """Whether it is an NVSwitch; every other chip is a GPU."""
        return self.endorsed.chip.startswith("LS")


def authenticate(
    data: bytes,
    certificates: bytes,
    *,
    anchors: TrustAnchors,
    now: datetime,
    cache: ChainCache,
) -> VerifiedReport:
    """Run the procedure above on a report and the PEM chain beside it, at `now` (aware UTC).

    Raises:
        MalformedEvidence: the report or a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    report = reports.parse(data)  # (1)
    endorsed = endorse(certificates, anchors=anchors, now=now, cache=cache)  # (2)
    check_signature(report, endorsed.key)  # (3)
    check_firmware(report, endorsed)  # (4)
    return VerifiedReport(
        report=report,
        endorsed=endorsed,
        evidence_sha256=hashlib.sha256(data).hexdigest(),
        signed_sha256=hashlib.sha256(report.signed).hexdigest(),
    )


def check_signature(report: Report, key: ec.EllipticCurvePublicKey) -> None:
    """Step 3. Raises RefusedEvidence SIGNATURE_INVALID."""
    r, s = report.signature_r, report.signature_s
    if not (0 < r < P384_ORDER and 0 < s < P384_ORDER):
        raise RefusedEvidence(Code.SIGNATURE_INVALID, "the signature's r or s is out of range")
    try:
        key.verify(encode_dss_signature(r, s), report.signed, _ECDSA_SHA384)
    except InvalidSignature:
        raise RefusedEvidence(
            Code.SIGNATURE_INVALID, "the report's signature does not verify under the device's key"
        ) from None


def check_firmware(report: Report, endorsed: EndorsedKey) -> None:
    """Step 4; driver 535 and switches name none. Raises RefusedEvidence FWID_MISMATCH."""
    told = report.opaque.get(Type.FWID)
    if told is not None and not hmac.compare_digest(told, endorsed.fwid):
        raise RefusedEvidence(
            Code.FWID_MISMATCH,
            "the device's key was made for other firmware than the report names",
            claim="gpu.fwid",
            expected=endorsed.fwid.hex(),
            actual=told.hex(),
        )
