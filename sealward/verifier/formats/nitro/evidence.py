"""Our Nitro evidence payload, media type application/vnd.sealward.nitro-evidence+cbor.

    { 1: document }        deterministic CBOR; the document inside is AWS's

Specification: docs/specs/evidence-envelope.md section 6.
"""

from __future__ import annotations

from typing import Final

from sealward.verifier.formats.nitro.document import MAX_BYTES
from sealward.verifier.wire import cbor
from sealward.verifier.wire.statement import Statement

_DOCUMENT: Final = 1
_HEADS: Final = 8


def encode(document: bytes) -> bytes:
    """Return the payload around a document."""
    return cbor.encode({_DOCUMENT: document})


def parse(payload: bytes) -> bytes:
    """Return the document of a payload; what it holds is not looked at.

    Raises:
        MalformedEvidence: not the map above, or beyond the size of a document.
    """
    fields = Statement.decode(payload, what="Nitro evidence", max_bytes=MAX_BYTES + _HEADS)
    document = fields.octets(_DOCUMENT, "document", most=MAX_BYTES)
    fields.finish()
    return document
