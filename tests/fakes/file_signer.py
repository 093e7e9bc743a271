"""A key that signs files as `evmctl ima_sign` does, and its certificate."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from fakes import software_tpm

_CODES = {"sha1": 2, "sha256": 4, "sha384": 5, "sha512": 6}
_HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


@dataclass(frozen=True)
class FileSigner:
    """`named` is whether its certificate has a subject key identifier."""

    kind: str = "p256"
    label: str = "file-signer"
    named: bool = True

    @property
    def private(self) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
        return software_tpm.private(self.kind, self.label)

    @property
    def spki(self) -> bytes:
        public = self.private.public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.spki).hexdigest()

    @property
    def identifier(self) -> bytes:
        """The end of what RFC 5280 proposes as identifier."""
        return x509.SubjectKeyIdentifier.from_public_key(self.private.public_key()).digest[-4:]

    def certificate(self) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.label)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(7)
            .not_valid_before(software_tpm.NOW - timedelta(days=1))
            .not_valid_after(software_tpm.NOW + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if self.named:
            identifier = x509.SubjectKeyIdentifier.from_public_key(self.private.public_key())
            builder = builder.add_extension(identifier, critical=False)
        return builder.sign(self.private, hashes.SHA256()).public_bytes(Encoding.DER)

    def sign(self, digest: bytes, algorithm: str = "sha256") -> bytes:
        """security.ima of a file with this digest: type 3, version 2."""
        return self._attribute(b"\x03\x02", algorithm, digest)

    def sign_verity(self, digest: bytes, algorithm: str = "sha256") -> bytes:
        """security.ima of a file with this digest of fs-verity: type 6, version 3."""
        identity = bytes((6, _CODES[algorithm])) + digest
        return self._attribute(b"\x06\x03", algorithm, hashlib.new(algorithm, identity).digest())

    def _attribute(self, form: bytes, algorithm: str, digest: bytes) -> bytes:
        key, prehashed = self.private, Prehashed(_HASHES[algorithm])
        if isinstance(key, rsa.RSAPrivateKey):
            body = key.sign(digest, padding.PKCS1v15(), prehashed)
        else:
            body = key.sign(digest, ec.ECDSA(prehashed))
        head = form + bytes((_CODES[algorithm],)) + self.identifier
        return head + struct.pack(">H", len(body)) + body
