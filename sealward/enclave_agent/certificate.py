"""The node certificate: short-lived, for exactly the TLS key that was born in this process.

Its life is counted on the boot-time clock from before it was asked for. The wall clock plays no
part: the host can set it, and a clock that is ahead would make every fresh certificate look over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealward.enclave_agent.clock import NS_PER_MS
from sealward.enclave_agent.messages import ProtocolViolation

# The control plane dates notBefore back by this much, for peers whose clocks are behind its own.
BACKDATED: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCertificate:
    """The certificate of this instance, ready for TLS.

    Attributes:
        chain_pem: leaf first.
        ends_ns: boot-time instant from which it is of no use; not later than its notAfter.
    """

    chain_pem: bytes
    ends_ns: int


def read_certificate(chain: tuple[bytes, ...], *, tls_spki: bytes, sent_ns: int) -> NodeCertificate:
    """Read an issued chain; its leaf must be for exactly the key of this instance.

    Args:
        chain: DER, leaf first.
        tls_spki: the key of this instance.
        sent_ns: boot-time instant read before the request left: the certificate is younger.

    Raises:
        ProtocolViolation: not certificates, or for another key.
    """
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        leaf = certificates[0]
        spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        life = leaf.not_valid_after_utc - leaf.not_valid_before_utc - BACKDATED
        pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    except Exception as error:
        # cryptography documents ValueError, and raises others for odd keys and extensions
        raise ProtocolViolation("the issued chain is not certificates") from error
    if spki != tls_spki:
        raise ProtocolViolation("the issued certificate is for another key")
    life_ms = life // timedelta(milliseconds=1)
    return NodeCertificate(chain_pem=pem, ends_ns=sent_ns + life_ms * NS_PER_MS)
