"""COSE_Sign1 (RFC 9052 section 4.2), the tagged form with an embedded payload, strictly.

    18([ protected: bstr .cbor {1: alg, 4: kid}, unprotected: {}, payload: bstr, signature: bstr ])

Nothing is read from unprotected headers, so there are none. Everything is deterministic CBOR, so a
message has one encoding. The signature covers Sig_structure (section 4.4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor
from sealward.verifier.wire.reader import Reader, check_budget

if TYPE_CHECKING:
    from collections.abc import Callable

EDDSA: Final = -8  # RFC 9053 section 2.2

_TAG_SIGN1: Final = b"\xd2"  # tag 18 in its only deterministic encoding
_ALG: Final = 1
_KID: Final = 4
_PARTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign1:
    """A parsed COSE_Sign1 whose signature nobody has checked yet.

    Attributes:
        alg: COSE algorithm identifier from the protected header.
        kid: key identifier from the protected header.
        payload: the embedded content.
        signature: as given; its length is the algorithm's business.
    """

    alg: int
    kid: bytes
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def to_be_signed(self, external_aad: bytes = b"") -> bytes:
        """Return the bytes the signature must cover (RFC 9052 section 4.4)."""
        return _to_be_signed(_protected(self.alg, self.kid), self.payload, external_aad)


def sign1(
    payload: bytes,
    *,
    alg: int,
    kid: bytes,
    sign: Callable[[bytes], bytes],
    external_aad: bytes = b"",
) -> bytes:
    """Return the tagged COSE_Sign1 of `payload`; `sign` gets the bytes to be signed."""
    protected = _protected(alg, kid)
    signature = sign(_to_be_signed(protected, payload, external_aad))
    return _TAG_SIGN1 + cbor.encode([protected, {}, payload, signature])


def parse_sign1(data: bytes, *, what: str, max_bytes: int) -> Sign1:
    """Read a tagged COSE_Sign1. The caller MUST verify the signature over `to_be_signed`.

    Raises:
        MalformedEvidence: anything but one deterministic message of the shape above.
    """
    check_budget(data, max_bytes, what)
    reader = Reader(data)
    if reader.take(1, what) != _TAG_SIGN1:
        raise MalformedEvidence(0, f"{what}: not tagged as COSE_Sign1 (18)")
    body = cbor.decode(reader.take(reader.remaining, what), what=what, max_bytes=max_bytes)
    if not isinstance(body, list) or len(body) != _PARTS:
        raise MalformedEvidence(1, f"{what}: COSE_Sign1 is not an array of four")
    protected, unprotected, payload, signature = body
    if unprotected != {}:
        raise MalformedEvidence(1, f"{what}: unprotected headers are not allowed")
    if not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise MalformedEvidence(1, f"{what}: payload and signature are byte strings")
    alg, kid = _parse_protected(protected, what)
    return Sign1(alg=alg, kid=kid, payload=payload, signature=signature)


def _protected(alg: int, kid: bytes) -> bytes:
    return cbor.encode({_ALG: alg, _KID: kid})


def _parse_protected(protected: cbor.Value, what: str) -> tuple[int, bytes]:
    if not isinstance(protected, bytes):
        raise MalformedEvidence(1, f"{what}: protected header is not a byte string")
    header = cbor.decode(protected, what=f"{what} protected header", max_bytes=len(protected))
    if not isinstance(header, dict) or header.keys() != {_ALG, _KID}:
        raise MalformedEvidence(1, f"{what}: protected header is not exactly {{alg, kid}}")
    alg, kid = header[_ALG], header[_KID]
    if isinstance(alg, bool) or not isinstance(alg, int) or not isinstance(kid, bytes):
        raise MalformedEvidence(1, f"{what}: alg is an integer and kid a byte string")
    return alg, kid


def _to_be_signed(protected: bytes, payload: bytes, external_aad: bytes) -> bytes:
    return cbor.encode(["Signature1", protected, external_aad, payload])
