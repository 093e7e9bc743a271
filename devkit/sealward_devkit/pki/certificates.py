"""Writes and signs X.509 certificates the way vendors do, one template at a time.

The template is plain data: a test mints a violation by replacing one field of it. Algorithms are
AMD's (RSASSA-PSS with SHA-384, MGF1-SHA-384 and a 48-byte salt), Google's (PKCS#1 v1.5, SHA-256),
and ECDSA as Intel (P-256, SHA-256), AWS and NVIDIA (P-384, SHA-384) use it; evidence-formats 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto, unique
from typing import TYPE_CHECKING, Final, assert_never

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from sealward_devkit.pki import der_writer as der

if TYPE_CHECKING:
    from datetime import datetime

IssuerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_OID_COMMON_NAME: Final = "2.5.4.3"
_OID_PKCS1_SHA256: Final = "1.2.840.113549.1.1.11"
_OID_PSS: Final = "1.2.840.113549.1.1.10"
_OID_MGF1: Final = "1.2.840.113549.1.1.8"
_OID_SHA384: Final = "2.16.840.1.101.3.4.2.2"
_OID_ECDSA_SHA256: Final = "1.2.840.10045.4.3.2"
_OID_ECDSA_SHA384: Final = "1.2.840.10045.4.3.3"
_SALT_SIZE: Final = 48
_X509_VERSION_3: Final = 2


@unique
class Algorithm(Enum):
    """How a certificate is signed."""

    PSS_SHA384 = auto()
    PKCS1_SHA256 = auto()
    ECDSA_SHA256 = auto()
    ECDSA_SHA384 = auto()


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: dotted OID, the bytes inside its OCTET STRING, and whether it is critical."""

    oid: str
    value: bytes
    critical: bool = False


@dataclass(frozen=True, slots=True)
class Validity:
    """A certificate's dates: aware UTC instants, both inclusive."""

    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Everything that goes into a certificate but the signature.

    `issuer` and `subject` are common names, `public_key` a DER SubjectPublicKeyInfo; the dates are
    aware UTC instants, written to the second.
    """

    serial: int
    issuer: str
    subject: str
    not_before: datetime
    not_after: datetime
    public_key: bytes
    extensions: tuple[Extension, ...]


def sign_certificate(
    template: Template, issuer_key: IssuerKey, algorithm: Algorithm | None = None
) -> bytes:
    """The DER certificate of `template`, signed as vendors sign with a key of this kind.

    `algorithm` says otherwise; an ECDSA one with an RSA key raises `ValueError`, and vice versa.
    """
    chosen = usual_algorithm(issuer_key) if algorithm is None else algorithm
    identifier = algorithm_identifier(chosen)
    body = der.sequence(
        der.explicit(0, der.integer(_X509_VERSION_3)),
        der.integer(template.serial),
        identifier,
        name(template.issuer),
        der.sequence(der.time(template.not_before), der.time(template.not_after)),
        name(template.subject),
        template.public_key,
        der.explicit(3, der.sequence(*(encode_extension(item) for item in template.extensions))),
    )
    return der.sequence(body, identifier, der.bit_string(sign(body, issuer_key, chosen)))


def usual_algorithm(key: IssuerKey) -> Algorithm:
    """What vendors sign with where their keys are of this kind."""
    if isinstance(key, rsa.RSAPrivateKey):
        return Algorithm.PSS_SHA384
    p256 = isinstance(key.curve, ec.SECP256R1)
    return Algorithm.ECDSA_SHA256 if p256 else Algorithm.ECDSA_SHA384


def sign(data: bytes, key: IssuerKey, algorithm: Algorithm) -> bytes:
    """A signature as certificates and revocation lists carry it.

    Raises:
        ValueError: the key is of another kind than the algorithm.
    """
    match algorithm, key:
        case Algorithm.PSS_SHA384, rsa.RSAPrivateKey():
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=_SALT_SIZE)
            return key.sign(data, pss, hashes.SHA384())
        case Algorithm.PKCS1_SHA256, rsa.RSAPrivateKey():
            return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        case Algorithm.ECDSA_SHA256, ec.EllipticCurvePrivateKey():
            return key.sign(data, ec.ECDSA(hashes.SHA256()))
        case Algorithm.ECDSA_SHA384, ec.EllipticCurvePrivateKey():
            return key.sign(data, ec.ECDSA(hashes.SHA384()))
        case _:
            raise ValueError(f"{algorithm.name} takes another kind of key")


def algorithm_identifier(algorithm: Algorithm) -> bytes:
    """The DER AlgorithmIdentifier (RFC 4055, RFC 5758)."""
    match algorithm:
        case Algorithm.PSS_SHA384:
            return _pss_sha384()
        case Algorithm.PKCS1_SHA256:
            return der.sequence(der.object_identifier(_OID_PKCS1_SHA256), der.null())
        case Algorithm.ECDSA_SHA256:
            return der.sequence(der.object_identifier(_OID_ECDSA_SHA256))
        case Algorithm.ECDSA_SHA384:
            return der.sequence(der.object_identifier(_OID_ECDSA_SHA384))
        case _ as never:
            assert_never(never)


def subject_public_key_info(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    """The DER SubjectPublicKeyInfo of a key."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def name(common_name: str) -> bytes:
    """A distinguished name of one common name."""
    attribute = der.sequence(der.object_identifier(_OID_COMMON_NAME), der.utf8_string(common_name))
    return der.sequence(der.set_of_one(attribute))


def encode_extension(extension: Extension) -> bytes:
    """One extension, of a certificate or of a revocation list."""
    critical = der.boolean(value=True) if extension.critical else b""
    return der.sequence(
        der.object_identifier(extension.oid), critical, der.octet_string(extension.value)
    )


def _pss_sha384() -> bytes:
    """AlgorithmIdentifier of RSASSA-PSS; trailerField is the default and so absent (RFC 4055)."""
    sha384 = der.sequence(der.object_identifier(_OID_SHA384), der.null())
    parameters = der.sequence(
        der.explicit(0, sha384),
        der.explicit(1, der.sequence(der.object_identifier(_OID_MGF1), sha384)),
        der.explicit(2, der.integer(_SALT_SIZE)),
    )
    return der.sequence(der.object_identifier(_OID_PSS), parameters)
