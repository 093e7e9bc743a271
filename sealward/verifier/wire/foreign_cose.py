"""COSE messages that others signed (RFC 9052): COSE_Sign1 and COSE_Mac0 with embedded payload.

    18 or 17 ([ protected: bstr .cbor {1: alg}, {}, payload: bstr, signature or MAC: bstr ])

Which tag stands there, or none, is for the format to say. Every real document and token has exactly
one protected header, the algorithm, and no unprotected one; others are refused, since nothing would
read them, and what is not signed would be a second spelling of the same message.

The bytes of header and payload are kept as they came, and the structure that was signed is built
around them: nothing is encoded again that somebody else encoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor, foreign_cbor

SIGN1_TAG: Final = 18
MAC0_TAG: Final = 17
ES256: Final = -7  # RFC 9053 section 2.1
ES384: Final = -35
HMAC_256: Final = 5  # RFC 9053 section 3.1: HMAC with SHA-256, whole tag

_ALG: Final = 1
_PARTS: Final = 4
_MAX_PROTECTED: Final = 16  # {1: -35} takes 4
_CONTEXTS: Final = {SIGN1_TAG: "Signature1", MAC0_TAG: "MAC0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A parsed message whose signature or MAC nobody has checked yet.

    Attributes:
        tag: 18 or 17, or None where none stood before the array.
        alg: COSE algorithm identifier from the protected header.
        protected: the protected header as it came.
        payload: the embedded content as it came.
        authenticator: signature or MAC; its length is the algorithm's business.
    """

    tag: int | None
    alg: int
    protected: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    authenticator: bytes = field(repr=False)

    def to_be_signed(self) -> bytes:
        """Return the Sig_structure or MAC_structure (RFC 9052 sections 4.4 and 6.3)."""
        context = _CONTEXTS[SIGN1_TAG if self.tag is None else self.tag]
        return cbor.encode([context, self.protected, b"", self.payload])


def parse(data: bytes, *, what: str, max_bytes: int, tags: frozenset[int | None]) -> Message:
    """Read one message. The caller MUST check the authenticator over `to_be_signed`.

    Args:
        data: untrusted bytes.
        what: name of the thing being read, for the error.
        max_bytes: budget; longer input is refused unread.
        tags: those of 18, 17 and None that the format has; None is read as a COSE_Sign1.

    Raises:
        MalformedEvidence: anything but one message of the shape above.
    """
    tag, body = foreign_cbor.split_tag(data, what=what, max_bytes=max_bytes)
    if tag not in tags:
        raise MalformedEvidence(0, f"{what}: not the COSE message of this format, tag {tag}")
    parts = foreign_cbor.decode(body, what=what, max_bytes=max_bytes, max_depth=2)
    if not isinstance(parts, list) or len(parts) != _PARTS:
        raise MalformedEvidence(0, f"{what}: a COSE message is an array of four")
    protected, unprotected, payload, authenticator = parts
    if unprotected != {}:
        raise MalformedEvidence(0, f"{what}: unprotected headers are not allowed")
    if not isinstance(protected, bytes):
        raise MalformedEvidence(0, f"{what}: protected header is not a byte string")
    if not isinstance(payload, bytes) or not isinstance(authenticator, bytes):
        raise MalformedEvidence(0, f"{what}: payload and authenticator are byte strings")
    return Message(
        tag=tag,
        alg=_algorithm(protected, what),
        protected=protected,
        payload=payload,
        authenticator=authenticator,
    )


def _algorithm(protected: bytes, what: str) -> int:
    header = foreign_cbor.decode(
        protected, what=f"{what} protected header", max_bytes=_MAX_PROTECTED, max_depth=1
    )
    if not isinstance(header, dict) or header.keys() != {_ALG}:
        raise MalformedEvidence(0, f"{what}: protected header is not exactly the algorithm")
    alg = header[_ALG]
    if isinstance(alg, bool) or not isinstance(alg, int):
        raise MalformedEvidence(0, f"{what}: the algorithm is not an integer")
    return alg
