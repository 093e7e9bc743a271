"""The document's own fields as plain JSON, for people and tools.

Policies see the normalised claims instead (`rats.claims`). Byte fields are lower-case hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealward.verifier.formats.nitro.document import Document
    from sealward.verifier.rats.claims import Json

_DIGEST = "SHA384"


def describe_document(document: Document) -> dict[str, Json]:
    """Return every field of a document but its certificates, which are shown as a chain."""
    return {
        "module_id": document.module_id,
        "digest": _DIGEST,
        "timestamp_ms": document.timestamp_ms,
        "pcrs": {str(index): value.hex() for index, value in document.pcrs},
        "debug": document.debug,
        "public_key": _hex(document.public_key),
        "user_data": _hex(document.user_data),
        "nonce": _hex(document.nonce),
        "tagged": document.message.tag is not None,
        "algorithm": document.message.alg,
    }


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
