"""Rules for attestation and endorsement keys, and the keys themselves as `cryptography` has them.

A public area says what its key may do, and a genuine TPM keeps to it. Anybody can write a public
area: that a key is in a TPM at all is proven by activating a credential (credential.py) and
never here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealward.verifier.formats.tpm.algorithms import Curve, SigningScheme
from sealward.verifier.formats.tpm.public import (
    DEFAULT_EXPONENT,
    EccKey,
    KeyedHash,
    RsaKey,
    Scheme,
)
from sealward.verifier.pki.algorithms import MIN_RSA_BITS
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from sealward.verifier.formats.tpm.public import Public

# fixedTPM, fixedParent, sensitiveDataOrigin: born in this TPM and unable to leave it.
# restricted and sign: it signs only what the TPM itself made, so a quote is a quote.
_AK_SET: Final = 0x00050032
# encryptedDuplication would let it leave; decrypt with restricted would make it a storage key.
_AK_CLEAR: Final = 0x00020800
# The templates of the TCG EK Credential Profile, low range and high range.
_EK_ATTRIBUTES: Final = (0x000300B2, 0x000300F2)
SIGNING_HASHES: Final = frozenset({HashAlg.SHA256, HashAlg.SHA384, HashAlg.SHA512})
NAME_HASHES: Final = SIGNING_HASHES
_CURVES: Final[dict[Curve, ec.EllipticCurve]] = {
    Curve.P256: ec.SECP256R1(),
    Curve.P384: ec.SECP384R1(),
}


def check_attestation_key(public: Public) -> Scheme:
    """Return the signing scheme of an attestation key.

    Raises:
        RefusedEvidence: KEY_ATTRIBUTES_FORBIDDEN, or ALGORITHM_FORBIDDEN for weak algorithms.
    """
    if public.attributes & _AK_SET != _AK_SET or public.attributes & _AK_CLEAR:
        raise RefusedEvidence(
            Code.KEY_ATTRIBUTES_FORBIDDEN,
            "the key is no attestation key: it could leave its TPM, or sign what no TPM made",
            claim="tpm.ak",
            expected="fixedTPM, fixedParent, sensitiveDataOrigin, restricted, sign; not decrypt",
            actual=", ".join(public.attribute_names),
            hint="create the key with tpm2_createak, or with the attributes of its template",
        )
    key = public.key
    if isinstance(key, KeyedHash) or key.scheme is None or key.symmetric is not None:
        raise RefusedEvidence(
            Code.KEY_ATTRIBUTES_FORBIDDEN, "an attestation key is asymmetric with a signing scheme"
        )
    ecc = key.scheme.scheme is SigningScheme.ECDSA
    weak = key.scheme.hash not in SIGNING_HASHES or public.name_alg not in NAME_HASHES
    if weak or ecc != isinstance(key, EccKey):
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            "the attestation key's scheme or name algorithm is not allowed",
            expected="RSASSA, RSAPSS or ECDSA, with SHA-256, SHA-384 or SHA-512",
            actual=f"{key.scheme.scheme.name} with {key.scheme.hash.label}",
        )
    return key.scheme


def check_endorsement_key(public: Public) -> RsaKey | EccKey:
    """Return the key of a public area that is an endorsement key by a template of the TCG.

    Raises:
        RefusedEvidence: KEY_ATTRIBUTES_FORBIDDEN or ALGORITHM_FORBIDDEN.
    """
    key = public.key
    storage = not isinstance(key, KeyedHash) and key.scheme is None and key.symmetric is not None
    if public.attributes not in _EK_ATTRIBUTES or isinstance(key, KeyedHash) or not storage:
        raise RefusedEvidence(
            Code.KEY_ATTRIBUTES_FORBIDDEN,
            "the key is no endorsement key by a template of the TCG",
            claim="tpm.ek",
            expected="attributes 000300b2 or 000300f2, AES-CFB, no signing scheme",
            actual=f"attributes {public.attributes:08x}: {', '.join(public.attribute_names)}",
        )
    if public.name_alg not in NAME_HASHES:
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            "the endorsement key's name algorithm is not allowed",
            expected="SHA-256, SHA-384 or SHA-512",
            actual=public.name_alg.label,
        )
    return key


def load(public: Public, *, owner: str) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """Return the key of a public area: RSA of at least MIN_RSA_BITS, ECC on P-256 or P-384.

    Raises:
        RefusedEvidence: ALGORITHM_FORBIDDEN for any other key, a point off its curve included;
            `owner` is named.
    """
    key = public.key
    try:
        if isinstance(key, RsaKey) and key.key_bits >= MIN_RSA_BITS:
            if key.exponent in (0, DEFAULT_EXPONENT):
                modulus = int.from_bytes(key.modulus, "big")
                return rsa.RSAPublicNumbers(DEFAULT_EXPONENT, modulus).public_key()
        elif isinstance(key, EccKey) and key.curve in _CURVES:
            x, y = int.from_bytes(key.x, "big"), int.from_bytes(key.y, "big")
            return ec.EllipticCurvePublicNumbers(x, y, _CURVES[key.curve]).public_key()
    except ValueError:
        pass  # not a key at all: the same answer
    raise RefusedEvidence(
        Code.ALGORITHM_FORBIDDEN,
        f"{owner}: its public key is of a kind or size that is not allowed",
        expected=f"RSA of {MIN_RSA_BITS} bits or more with exponent 65537, ECC P-256 or P-384",
    )
