"""Checks COSE messages under keys that something else vouches for (RFC 9053 sections 2.1 and 3.1).

An ECDSA algorithm is taken with one curve only, though COSE would allow others: ES256 with P-256,
ES384 with P-384. Signatures are r || s, each of the curve's size.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire import foreign_cose
from sealward.verifier.wire.foreign_cose import Message
from sealward.verifier.wire.reader import Reader


@dataclass(frozen=True, slots=True)
class _Ecdsa:
    curve: str
    size: int  # of r, and of s
    scheme: ec.ECDSA


_ECDSA: Final = {
    foreign_cose.ES256: _Ecdsa("secp256r1", 32, ec.ECDSA(hashes.SHA256())),
    foreign_cose.ES384: _Ecdsa("secp384r1", 48, ec.ECDSA(hashes.SHA384())),
}
_P384_POINT: Final = 97  # 04 || x || y (SEC 1 section 2.3.3)
_UNCOMPRESSED: Final = 4


def verify_sign1(message: Message, key: ec.EllipticCurvePublicKey, *, owner: str) -> bytes:
    """Check a COSE_Sign1 under `key`, which `owner` names in errors; return what was signed.

    Raises:
        RefusedEvidence: ALGORITHM_FORBIDDEN, for a key on another curve too, or SIGNATURE_INVALID.
    """
    ecdsa = _ECDSA.get(message.alg)
    if ecdsa is None or ecdsa.curve != key.curve.name or message.tag == foreign_cose.MAC0_TAG:
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            f"COSE algorithm {message.alg} is not allowed with the key of {owner}",
            expected="ES256 (-7) with P-256 or ES384 (-35) with P-384",
            actual=f"{message.alg} with {key.curve.name}",
        )
    if len(message.authenticator) != 2 * ecdsa.size:
        raise _invalid(owner)
    halves = Reader(message.authenticator)
    r, s = halves.be(ecdsa.size, "r"), halves.be(ecdsa.size, "s")
    signed = message.to_be_signed()
    try:
        key.verify(encode_dss_signature(r, s), signed, ecdsa.scheme)
    except InvalidSignature:
        raise _invalid(owner) from None
    return signed


def verify_mac0(message: Message, secret: bytes, *, owner: str) -> None:
    """Check a COSE_Mac0 with HMAC-SHA-256 under the `secret` of `owner`.

    Raises:
        RefusedEvidence: ALGORITHM_FORBIDDEN or SIGNATURE_INVALID.
    """
    if message.alg != foreign_cose.HMAC_256 or message.tag != foreign_cose.MAC0_TAG:
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            f"COSE algorithm {message.alg} is not allowed with the secret of {owner}",
            expected="COSE_Mac0 with HMAC 256/256 (5)",
            actual=str(message.alg),
        )
    expected = hmac.digest(secret, message.to_be_signed(), "sha256")
    if not hmac.compare_digest(expected, message.authenticator):
        raise RefusedEvidence(
            Code.SIGNATURE_INVALID, f"the MAC does not verify under the secret of {owner}"
        )


def p384_key(point: bytes, *, owner: str) -> ec.EllipticCurvePublicKey:
    """Return the key of an uncompressed P-384 point.

    Raises:
        RefusedEvidence: CERTIFICATE_FORBIDDEN, not 04 || x || y of a point on the curve.
    """
    # Compressed points have one encoding more, and no token uses them.
    bare = point if len(point) == _P384_POINT and point[0] == _UNCOMPRESSED else b""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), bare)
    except ValueError:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN, f"{owner}: its public key is no point of P-384"
        ) from None


def _invalid(owner: str) -> RefusedEvidence:
    return RefusedEvidence(
        Code.SIGNATURE_INVALID, f"the signature does not verify under the key of {owner}"
    )
