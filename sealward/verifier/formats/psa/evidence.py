"""Our PSA evidence payload, media type application/vnd.sealward.psa-evidence+cbor.

    { 1: token }        deterministic CBOR; the token inside is its maker's

Specification: docs/specs/evidence-envelope.md section 12.
"""

from __future__ import annotations

from typing import Final

from sealward.verifier.formats.psa.token import MAX_BYTES
from sealward.verifier.wire import cbor
from sealward.verifier.wire.statement import Statement

_TOKEN: Final = 1
_HEADS: Final = 8


def encode(token: bytes) -> bytes:
    """Return the payload around a token."""
    return cbor.encode({_TOKEN: token})


def parse(payload: bytes) -> bytes:
    """Return the token of a payload; what it holds is not looked at.

    Raises:
        MalformedEvidence: not the map above, or beyond the size of a token.
    """
    fields = Statement.decode(payload, what="PSA evidence", max_bytes=MAX_BYTES + _HEADS)
    token = fields.octets(_TOKEN, "token", most=MAX_BYTES)
    fields.finish()
    return token
