"""Who is on the other end of an agent connection.

The key and the dates of its client certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealward.controlplane.domain.errors import Code, Refused

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True, slots=True)
class Peer:
    """The client certificate that TLS verified against the node root.

    Attributes:
        tls_spki: DER SubjectPublicKeyInfo of its key.
        not_after: its end.
    """

    tls_spki: bytes
    not_after: datetime


def peer_of(context: Context, now: datetime) -> Peer:
    """Return the peer of a mutual-TLS connection.

    TLS checks a certificate only when a connection begins, so its end is checked at every call.

    Raises:
        Refused: `unauthenticated`.
    """
    presented = tuple(context.auth_context().get("x509_pem_cert", ()))
    if len(presented) != 1:
        raise Refused(Code.unauthenticated, "the connection shows no client certificate")
    certificate = x509.load_pem_x509_certificate(presented[0])
    not_after = certificate.not_valid_after_utc
    if now >= not_after:
        raise Refused(Code.unauthenticated, "the node certificate has expired", "enrol again")
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Peer(tls_spki=spki, not_after=not_after)
