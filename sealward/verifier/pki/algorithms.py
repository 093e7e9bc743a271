"""The signature algorithms we allow in certificates, and the one place that runs them.

An AlgorithmIdentifier is compared as whole DER: algorithm and parameters are one value, so there
are no parameters left to misread. Everything not listed is FORBIDDEN.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

MIN_RSA_BITS: Final = 2048  # NIST SP 800-131A; AMD's are 4096
_ALLOWED_CURVES: Final = ("secp256r1", "secp384r1")

_PSS_SHA384: Final = (
    "06092a864886f70d01010a"  # id-RSASSA-PSS (RFC 4055)
    "30{}a00f300d06096086480165030402020500"  # hash SHA-384
    "a11c301a06092a864886f70d010108300d06096086480165030402020500"  # MGF1 with SHA-384
    "a203020130"  # salt of 48 bytes
)


@unique
class SignatureAlgorithm(StrEnum):
    """What a certificate says it was signed with."""

    RSA_PSS_SHA384 = "rsa-pss-sha384"
    RSA_PKCS1_SHA256 = "rsa-pkcs1-sha256"
    ECDSA_SHA256 = "ecdsa-sha256"
    ECDSA_SHA384 = "ecdsa-sha384"
    FORBIDDEN = "forbidden"

    @classmethod
    def of(cls, identifier: bytes) -> SignatureAlgorithm:
        """Return the algorithm of a DER AlgorithmIdentifier, FORBIDDEN for any not listed."""
        return _IDENTIFIERS.get(identifier, cls.FORBIDDEN)


_IDENTIFIERS: Final = {
    bytes.fromhex("3041" + _PSS_SHA384.format("34")): SignatureAlgorithm.RSA_PSS_SHA384,
    # The same with trailerField written out though it is the default: not DER, but AMD's CA
    # certificates and its VCEKs of before 2024 are so.
    bytes.fromhex("3046" + _PSS_SHA384.format("39") + "a303020101"): (
        SignatureAlgorithm.RSA_PSS_SHA384
    ),
    bytes.fromhex("300d06092a864886f70d01010b0500"): SignatureAlgorithm.RSA_PKCS1_SHA256,
    bytes.fromhex("300a06082a8648ce3d040302"): SignatureAlgorithm.ECDSA_SHA256,
    bytes.fromhex("300a06082a8648ce3d040303"): SignatureAlgorithm.ECDSA_SHA384,
}


def load_public_key(spki: bytes, *, owner: str) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """Load an ECDSA P-256/P-384 or RSA key of at least MIN_RSA_BITS from DER.

    Raises:
        RefusedEvidence: CERTIFICATE_FORBIDDEN for any other or broken key; `owner` is named.
    """
    try:
        key: PublicKeyTypes = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        key_error = f"{owner}: its public key cannot be used"
        raise RefusedEvidence(Code.CERTIFICATE_FORBIDDEN, key_error) from None
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _ALLOWED_CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    raise RefusedEvidence(
        Code.CERTIFICATE_FORBIDDEN,
        f"{owner}: its public key is of a kind or size that is not allowed",
        expected=f"ECDSA P-256 or P-384, RSA of {MIN_RSA_BITS} bits or more",
    )


def verify(
    spki: bytes, algorithm: SignatureAlgorithm, signature: bytes, data: bytes, *, owner: str
) -> None:
    """Check `signature` over `data` under the key in `spki`, which `owner` names in errors.

    Raises:
        RefusedEvidence: ALGORITHM_FORBIDDEN, CERTIFICATE_FORBIDDEN or SIGNATURE_INVALID.
    """
    key = load_public_key(spki, owner=owner)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            _verify_rsa(key, algorithm, signature, data, owner)
        else:
            _verify_ecdsa(key, algorithm, signature, data, owner)
    except InvalidSignature:
        raise RefusedEvidence(
            Code.SIGNATURE_INVALID, f"the signature does not verify under the key of {owner}"
        ) from None


def _verify_rsa(
    key: rsa.RSAPublicKey,
    algorithm: SignatureAlgorithm,
    signature: bytes,
    data: bytes,
    owner: str,
) -> None:
    if algorithm is SignatureAlgorithm.RSA_PSS_SHA384:
        sha384 = hashes.SHA384()
        pss = padding.PSS(mgf=padding.MGF1(sha384), salt_length=sha384.digest_size)
        key.verify(signature, data, pss, sha384)
    elif algorithm is SignatureAlgorithm.RSA_PKCS1_SHA256:
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    else:
        raise _forbidden(algorithm, owner)


def _verify_ecdsa(
    key: ec.EllipticCurvePublicKey,
    algorithm: SignatureAlgorithm,
    signature: bytes,
    data: bytes,
    owner: str,
) -> None:
    if algorithm is SignatureAlgorithm.ECDSA_SHA256:
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    elif algorithm is SignatureAlgorithm.ECDSA_SHA384:
        key.verify(signature, data, ec.ECDSA(hashes.SHA384()))
    else:
        raise _forbidden(algorithm, owner)


def _forbidden(algorithm: SignatureAlgorithm, owner: str) -> RefusedEvidence:
    return RefusedEvidence(
        Code.ALGORITHM_FORBIDDEN,
        f"signature algorithm {algorithm} is not allowed with the key of {owner}",
    )
