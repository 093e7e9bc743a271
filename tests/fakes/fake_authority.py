"""Certificate authorities for planes under test: real certificates, made on the spot."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Authority:
    """A certificate authority."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(name, name, key.public_key(), timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        public: ec.EllipticCurvePublicKey,
        life: timedelta,
        *,
        server: bool,
        clock_off: timedelta = timedelta(),
    ) -> x509.Certificate:
        """Issue a certificate, dated by a clock that is off by so much."""
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        issuer = self.certificate.subject.rfc4514_string().removeprefix("CN=")
        builder = _builder("leaf", issuer, public, life, clock_off).add_extension(
            x509.ExtendedKeyUsage([usage]), critical=False
        )
        if server:
            names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _builder(
    name: str,
    issuer: str,
    public: ec.EllipticCurvePublicKey,
    life: timedelta,
    clock_off: timedelta = timedelta(),
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(time.time_ns() / 1e9, UTC) + clock_off
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=30))
        .not_valid_after(now + life)
    )
