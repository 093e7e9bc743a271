"""Who is on the other end of an agent connection.

The key and the dates of its client certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias

import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealward.controlplane.domain.errors import Code, Refused
from sealward.verifier.rats.binding import thumbprint

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_CERTIFICATES_REMEMBERED: Final = 4096  # a node calls several times under each of its certificates


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

    TLS checked root and signature; here the name must be that of the certificate's own key (F19b).
    TLS checks dates only when a connection begins, so the end is checked at every call.

    Raises:
        Refused: `unauthenticated`.
    """
    presented = tuple(context.auth_context().get("x509_pem_cert", ()))
    if len(presented) != 1:
        raise Refused(Code.unauthenticated, "the connection shows no client certificate")
    peer = _read(presented[0])
    if now >= peer.not_after:
        raise Refused(Code.unauthenticated, "the node certificate has expired", "enrol again")
    return peer


@lru_cache(maxsize=_CERTIFICATES_REMEMBERED)
def _read(pem: bytes) -> Peer:
    """Return what a certificate says; the same bytes always say the same."""
    certificate = x509.load_pem_x509_certificate(pem)
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1 or not uris[0].endswith(f"/node/{thumbprint(spki).hex()}"):
        raise Refused(Code.unauthenticated, "the certificate does not name its own key")
    return Peer(tls_spki=spki, not_after=certificate.not_valid_after_utc)
