"""The attestation key of a quoting enclave: from what certifies it to a key we believe.

Numbered procedure of `endorse` (Intel quote verification, sections 4.1.2.3 and 4.1.2.4):

    (1) the PCK chain holds to a trusted root, dates at `now` (issuers.py);
    (2) the PCK certificate says its platform, and was issued by the CA of such platforms (pck.py);
    (3) the report of the quoting enclave is signed by the PCK;
    (4) its report_data is SHA-256 over the attestation key and the authentication data, then zeros;
    (5) the attestation key is a point of P-256.

Revocation, and whether the enclave is Intel's, need collateral: see verify.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from sealward.verifier.formats.dcap import issuers, pck, raw_signature
from sealward.verifier.formats.dcap.issuers import PckCa
from sealward.verifier.pki import algorithms
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.dcap.issuers import Path
    from sealward.verifier.formats.dcap.pck import Pck
    from sealward.verifier.formats.dcap.quote import Certification
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.chain_cache import ChainCache

_ENTRY: Final = "dcap-attestation-key"
_UNCOMPRESSED: Final = b"\x04"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsedKey:
    """An attestation key whose certification held; the dates of its path are checked at each use.

    Attributes:
        path: PCK certificate, its CA and the root.
        pck: what the PCK certificate says.
        key: verifies quotes.
    """

    path: Path
    pck: Pck
    key: ec.EllipticCurvePublicKey = field(repr=False)


def endorse(
    certification: Certification, *, anchors: TrustAnchors, now: datetime, cache: ChainCache
) -> EndorsedKey:
    """Verify what certifies a key at the aware UTC instant `now`, or find it in the cache.

    Raises:
        MalformedEvidence: a certificate or its extension does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    key = (_ENTRY, _digest(certification), anchors.digest)
    endorsed = cache.get(key, EndorsedKey)
    if endorsed is None:
        endorsed = _endorse(certification, anchors, now)
        cache.put(key, endorsed)
    endorsed.path.window.check(now)
    return endorsed


def _digest(certification: Certification) -> bytes:
    """Digest everything that is verified: of the parts but the last, one has not a fixed size."""
    auth_data = certification.qe_auth_data
    return hashlib.sha256(
        b"".join(
            (
                certification.key,
                certification.qe_report_raw,
                certification.qe_signature,
                len(auth_data).to_bytes(2, "little"),
                auth_data,
                certification.pck_chain,
            )
        )
    ).digest()


def _endorse(certification: Certification, anchors: TrustAnchors, now: datetime) -> EndorsedKey:
    path = issuers.pck_path(certification.pck_chain, anchors=anchors, now=now)  # (1)
    platform = pck.parse(path.leaf)  # (2)
    check_ca(platform, path)
    signer = raw_signature.p256(
        algorithms.load_public_key(path.leaf.spki, owner=path.leaf.subject.text),
        "the PCK certificate's key",
    )
    raw_signature.verify(  # (3)
        signer,
        certification.qe_signature,
        certification.qe_report_raw,
        "the report of the quoting enclave does not verify under the platform's PCK",
    )
    _check_binding(certification)  # (4)
    return EndorsedKey(path=path, pck=platform, key=_point(certification.key))  # (5)


def check_ca(platform: Pck, path: Path) -> None:
    """Step 2. Raises RefusedEvidence CHAIN_BROKEN."""
    of_platform = platform.platform_instance_id is not None
    if of_platform != (path.pck_ca is PckCa.PLATFORM):
        raise RefusedEvidence(
            Code.CHAIN_BROKEN,
            "the PCK certificate is not of the kind that its CA issues",
            expected="a platform instance id from the Platform CA alone",
            actual=path.pck_ca,
        )


def _check_binding(certification: Certification) -> None:
    bound = hashlib.sha256(certification.key + certification.qe_auth_data).digest()
    if certification.qe_report.report_data != bound.ljust(64, b"\0"):
        raise RefusedEvidence(
            Code.ATTESTATION_KEY_UNPROVEN,
            "the quoting enclave vouches for another attestation key",
            expected=certification.qe_report.report_data.hex(),
            actual=bound.hex(),
        )


def _point(key: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _UNCOMPRESSED + key)
    except ValueError:
        raise RefusedEvidence(
            Code.ATTESTATION_KEY_UNPROVEN, "the attestation key is not a point of P-256"
        ) from None
