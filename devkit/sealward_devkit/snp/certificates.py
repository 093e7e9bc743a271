"""Writes and signs X.509 certificates the way AMD does, one template at a time.

RSASSA-PSS with SHA-384, MGF1-SHA-384 and a 48-byte salt (evidence-formats section 2). The template
is plain data: a test mints a violation by replacing one field of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from sealward_devkit.snp import der_writer as der

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

_OID_COMMON_NAME: Final = "2.5.4.3"
_OID_PSS: Final = "1.2.840.113549.1.1.10"
_OID_MGF1: Final = "1.2.840.113549.1.1.8"
_OID_SHA384: Final = "2.16.840.1.101.3.4.2.2"
_SALT_SIZE: Final = 48
_X509_VERSION_3: Final = 2


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: dotted OID, the bytes inside its OCTET STRING, and whether it is critical."""

    oid: str
    value: bytes
    critical: bool = False


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


def sign_certificate(template: Template, issuer_key: RSAPrivateKey) -> bytes:
    """The DER certificate of `template`, signed as AMD signs."""
    algorithm = _pss_sha384()
    body = der.sequence(
        der.explicit(0, der.integer(_X509_VERSION_3)),
        der.integer(template.serial),
        algorithm,
        _name(template.issuer),
        der.sequence(der.time(template.not_before), der.time(template.not_after)),
        _name(template.subject),
        template.public_key,
        der.explicit(3, der.sequence(*(_extension(item) for item in template.extensions))),
    )
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=_SALT_SIZE)
    signature = issuer_key.sign(body, pss, hashes.SHA384())
    return der.sequence(body, algorithm, der.bit_string(signature))


def subject_public_key_info(key: RSAPublicKey | EllipticCurvePublicKey) -> bytes:
    """The DER SubjectPublicKeyInfo of a key."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
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


def _name(common_name: str) -> bytes:
    attribute = der.sequence(der.object_identifier(_OID_COMMON_NAME), der.utf8_string(common_name))
    return der.sequence(der.set_of_one(attribute))


def _extension(extension: Extension) -> bytes:
    critical = der.boolean_true() if extension.critical else b""
    return der.sequence(
        der.object_identifier(extension.oid), critical, der.octet_string(extension.value)
    )
