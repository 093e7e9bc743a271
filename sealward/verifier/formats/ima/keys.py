"""Keys that a tenant trusts to sign files: those of the certificates in the kernel's keyring.

Each key is trusted for itself. Neither issuer nor validity of its certificate is looked at, as the
kernel looks at neither when it checks a file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.pki import algorithms, certificate
from sealward.verifier.pki.certificate import MAX_CERTIFICATE_BYTES
from sealward.verifier.wire import der
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

IDENTIFIER_SIZE: Final = 4
_OID_SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"


@dataclass(frozen=True, slots=True)
class FileKey:
    """A trusted key.

    Attributes:
        identifier: four bytes by which signatures name it: the end of the certificate's subject key
            identifier, or of the SHA-1 of the key's bits where it has none.
        sha256: of the DER SubjectPublicKeyInfo, lower-case hex.
        key: RSA, or ECDSA on P-256 or P-384.
    """

    identifier: bytes
    sha256: str
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey = field(repr=False, compare=False)


def of_certificate(data: bytes) -> FileKey:
    """Return the key of a DER certificate.

    Raises:
        MalformedEvidence: not a certificate, or its subject key identifier is none.
        RefusedEvidence: CERTIFICATE_FORBIDDEN for a key of another kind or size.
    """
    parsed = certificate.parse(data)
    return FileKey(
        _end(_key_identifier(parsed)),
        hashlib.sha256(parsed.spki).hexdigest(),
        algorithms.load_public_key(parsed.spki, owner="a file signing certificate"),
    )


def _key_identifier(parsed: certificate.Certificate) -> bytes:
    extension = parsed.extension(_OID_SUBJECT_KEY_IDENTIFIER)
    if extension is not None:
        what = "subjectKeyIdentifier"
        outer = der.read(extension.value, what=what, max_bytes=MAX_CERTIFICATE_BYTES)
        found = outer.element(what, der.OCTET_STRING).content
        outer.finish()
        return found
    what = "SubjectPublicKeyInfo"
    outer = der.read(parsed.spki, what=what, max_bytes=MAX_CERTIFICATE_BYTES)
    inside = outer.enter(what)
    inside.opaque(what)
    # What RFC 5280 4.2.1.2 proposes as identifier, and no security rests on it.
    return hashlib.sha1(inside.bits(what), usedforsecurity=False).digest()


def _end(identifier: bytes) -> bytes:
    reader = Reader(identifier)
    reader.seek(max(0, reader.remaining - IDENTIFIER_SIZE), "subjectKeyIdentifier")
    return reader.take(IDENTIFIER_SIZE, "subjectKeyIdentifier")
