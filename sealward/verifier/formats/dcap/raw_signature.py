"""ECDSA P-256 with SHA-256 as Intel writes it: r and s, 32 bytes each, big-endian.

Low s is not demanded: firmware emits either half, so a quote has two valid signatures, and replay
protection must rest on nonces, never on digests of evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

# Order of the P-256 group (FIPS 186-5, SP 800-186 section 3.2.1.3).
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_HALF: Final = 32


def p256(
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, owner: str
) -> ec.EllipticCurvePublicKey:
    """Return `key` when it is a P-256 key. Raises RefusedEvidence CERTIFICATE_FORBIDDEN."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return key
    raise RefusedEvidence(Code.CERTIFICATE_FORBIDDEN, f"{owner} is not an ECDSA P-256 key")


def verify(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes, refusal: str) -> None:
    """Check a signature of 64 bytes. Raises RefusedEvidence SIGNATURE_INVALID with `refusal`."""
    reader = Reader(signature)
    r, s = reader.be(_HALF, "r"), reader.be(_HALF, "s")
    if not (0 < r < P256_ORDER and 0 < s < P256_ORDER):
        raise RefusedEvidence(Code.SIGNATURE_INVALID, f"{refusal}: r or s is out of range")
    try:
        key.verify(encode_dss_signature(r, s), signed, _ECDSA)
    except InvalidSignature:
        raise RefusedEvidence(Code.SIGNATURE_INVALID, refusal) from None
