"""Chains of certificates as they travel beside collateral: PEM, as vendors' services send them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sealward.verifier.pki import certificate
from sealward.verifier.pki.certificate import Certificate
from sealward.verifier.wire import base64, pem

_MAX_CHAIN: Final = 64 << 10  # far above five certificates
_LINE: Final = 64  # RFC 7468 section 2


def read(data: bytes) -> tuple[Certificate, ...]:
    """Return the certificates of a PEM chain, in order; none for empty bytes.

    Raises:
        MalformedEvidence: anything else.
    """
    if not data.strip():
        return ()
    blocks = pem.decode(data.rstrip(b"\0"), what="issuer chain", max_bytes=_MAX_CHAIN)
    return tuple(certificate.parse(block) for block in blocks)


def write(*chain: Certificate) -> bytes:
    """Return a PEM chain."""
    return "".join(line + "\n" for one in chain for line in _lines(one.der)).encode("ascii")


def _lines(der: bytes) -> Iterator[str]:
    text = base64.encode(der)
    yield "-----BEGIN CERTIFICATE-----"
    for at in range(0, len(text), _LINE):
        yield text[at : at + _LINE]
    yield "-----END CERTIFICATE-----"
