"""The extensions that vendors' certificates share (RFC 5280 4.2.1), and our own marker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509

from sealward_devkit.pki import der_writer as der
from sealward_devkit.pki.certificates import Extension

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

# The critical extension that marks development certificates. Written down twice on purpose: the
# other place is sealward.verifier.pki.development, and a test compares them.
DEVELOPMENT_MARKER_OID: Final = "2.25.147695781032003253261163673806234109685"

# Bits of KeyUsage, the most significant first (RFC 5280 4.2.1.3).
DIGITAL_SIGNATURE, NON_REPUDIATION, KEY_CERT_SIGN, CRL_SIGN = 0x80, 0x40, 0x04, 0x02


def development_marker() -> Extension:
    """The critical extension without which the verifier takes no root as a development root."""
    return Extension(DEVELOPMENT_MARKER_OID, der.null(), critical=True)


def basic_constraints(*, ca: bool = True, path_length: int | None = None) -> Extension:
    """BasicConstraints; `cA FALSE` is the default of DER and so left out."""
    flag = der.boolean(value=True) if ca else b""
    limit = b"" if path_length is None else der.integer(path_length)
    return Extension("2.5.29.19", der.sequence(flag, limit), critical=True)


def key_usage(bits: int, *, critical: bool = True) -> Extension:
    """KeyUsage of one byte of bits."""
    unused = (bits & -bits).bit_length() - 1
    value = der.bit_string(bytes((bits,)), unused_bits=unused)
    return Extension("2.5.29.15", value, critical=critical)


def subject_key_identifier(key: RSAPublicKey | EllipticCurvePublicKey) -> Extension:
    """SubjectKeyIdentifier: SHA-1 of the key."""
    return Extension("2.5.29.14", der.octet_string(_key_identifier(key)))


def authority_key_identifier(key: RSAPublicKey | EllipticCurvePublicKey) -> Extension:
    """AuthorityKeyIdentifier with the issuer's key identifier alone."""
    return Extension("2.5.29.35", der.sequence(der.tlv(0x80, _key_identifier(key))))


def _key_identifier(key: RSAPublicKey | EllipticCurvePublicKey) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(key).digest
