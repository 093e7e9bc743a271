"""X.509 of the control plane.

The server identity root that agents pin, and the authority for node certificates.

Two roots, one purpose each (F19b): a node certificate never opens a server or admin door. Node
certificates live ten minutes at most and are issued only for a key that evidence bound.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.services.node_certificates import NodeCertificate
from sealward.controlplane.services.ports import Keystore

NODE_CERTIFICATE_LIFE: Final = timedelta(minutes=10)  # F19b
SERVER_CERTIFICATE_LIFE: Final = timedelta(days=30)
ROOT_LIFE: Final = timedelta(days=3650)
BACKDATE: Final = timedelta(seconds=30)  # a peer's clock may be behind ours by this much


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A certificate chain and its key, for a listener.

    Attributes:
        chain: PEM, leaf first.
        key: PEM, PKCS#8; made at start and never written.
    """

    chain: bytes
    key: bytes = field(repr=False)


def load_or_create_root(
    path: Path, *, purpose: KeyPurpose, keystore: Keystore, trust_domain: str, now: datetime
) -> x509.Certificate:
    """Return the root for `purpose`, making the self-signed certificate once.

    The certificate is public; it is kept because agents measure its exact bytes.

    Raises:
        Refused: `keystore_refused` when the file belongs to another key.
    """
    key = keystore.private_for_certificates(purpose)
    if path.exists():
        root = x509.load_pem_x509_certificate(path.read_bytes())
        if root.public_key() != key.public_key():
            raise Refused(
                Code.keystore_refused,
                f"{path.name} was made with another key than the keystore holds",
                "restore the keystore and its certificates together",
            )
        return root
    root = _root(key, purpose=purpose, trust_domain=trust_domain, now=now)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(root.public_bytes(Encoding.PEM))
        file.flush()
        os.fsync(file.fileno())
    return root


def issue_server(
    root: x509.Certificate, *, keystore: Keystore, names: Sequence[str], now: datetime
) -> TlsIdentity:
    """Return a fresh TLS identity for the DNS names and addresses that a listener answers to."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(names[0], root.subject, key.public_key(), now, now + SERVER_CERTIFICATE_LIFE)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(keystore.private_for_certificates(KeyPurpose.server_ca), hashes.SHA256())
    )
    return TlsIdentity(
        chain=certificate.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


@dataclass(frozen=True, slots=True)
class NodeAuthority:
    """Issues node certificates: the port `NodeCertificates` of the services."""

    root: x509.Certificate
    keystore: Keystore
    trust_domain: str
    tenant: str

    def issue(self, tls_spki: bytes, node_id: str, *, now: datetime) -> NodeCertificate:
        """Return a certificate for the instance key that evidence bound.

        Raises:
            Refused: `evidence_refused` when the key is not P-256.
        """
        public = instance_key(tls_spki)
        not_after = (now + NODE_CERTIFICATE_LIFE).replace(microsecond=0)
        uri = f"spiffe://{self.trust_domain}/tenant/{self.tenant}/node/{node_id}"
        certificate = (
            _builder(node_id[:32], self.root.subject, public, now, not_after)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
            .sign(self.keystore.private_for_certificates(KeyPurpose.node_ca), hashes.SHA256())
        )
        chain = (certificate.public_bytes(Encoding.DER), self.root.public_bytes(Encoding.DER))
        return NodeCertificate(chain=chain, not_after=not_after)

    def renewed(
        self, tls_spki: bytes, node_id: str, *, not_after: datetime, now: datetime
    ) -> NodeCertificate | None:
        """Return a fresh certificate when one that ends at `not_after` has passed half its life."""
        if not_after - now > NODE_CERTIFICATE_LIFE / 2:
            return None
        return self.issue(tls_spki, node_id, now=now)


def instance_key(tls_spki: bytes) -> ec.EllipticCurvePublicKey:
    """Return the instance's TLS key.

    Raises:
        Refused: `evidence_refused` when the bytes are not a DER SubjectPublicKeyInfo of a P-256
        key.
    """
    try:
        public = load_der_public_key(tls_spki)
    except ValueError as error:
        raise Refused(Code.evidence_refused, "the bound TLS key is not a public key") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise Refused(Code.evidence_refused, "the bound TLS key is not a P-256 key")
    return public


def _root(
    key: ec.EllipticCurvePrivateKey, *, purpose: KeyPurpose, trust_domain: str, now: datetime
) -> x509.Certificate:
    title = "server" if purpose is KeyPurpose.server_ca else "node"
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Sealward {title} root {trust_domain}"[:64])]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=False, certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if purpose is KeyPurpose.node_ca:
        constraint = x509.NameConstraints([x509.UniformResourceIdentifier(trust_domain)], None)
        builder = builder.add_extension(constraint, critical=True)
    return builder.sign(key, hashes.SHA256())


def _builder(
    common_name: str,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])]))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(not_after)
        .add_extension(_usage(sign=True, certificates=False), critical=True)
    )


def _usage(*, sign: bool, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
