"""The node certificate: short-lived, for exactly the TLS key that was born in this process."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealward.enclave_agent.messages import ProtocolViolation


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCertificate:
    """The certificate of this instance, ready for TLS.

    Attributes:
        chain_pem: leaf first.
        not_after_ms: Unix milliseconds.
    """

    chain_pem: bytes
    not_after_ms: int


def read_certificate(chain: tuple[bytes, ...], *, tls_spki: bytes) -> NodeCertificate:
    """Read an issued chain; its leaf must be for exactly the key of this instance.

    Raises:
        ProtocolViolation: not certificates, or for another key.
    """
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        leaf = certificates[0]
        spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        not_after = leaf.not_valid_after_utc
        pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    except Exception as error:
        # cryptography documents ValueError, and raises others for odd keys and extensions
        raise ProtocolViolation("the issued chain is not certificates") from error
    if spki != tls_spki:
        raise ProtocolViolation("the issued certificate is for another key")
    return NodeCertificate(chain_pem=pem, not_after_ms=int(not_after.timestamp() * 1000))
