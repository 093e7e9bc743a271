"""TPMT_SIGNATURE, bytes to fields and back (TPM 2.0 part 2, section 11.3.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sealward.verifier.formats.tpm import fields
from sealward.verifier.formats.tpm.algorithms import Curve, SigningScheme
from sealward.verifier.wire.reader import Reader
from sealward.verifier.wire.tcg_hash import HashAlg

_MAX_RSA_BYTES: Final = 512  # RSA-4096


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed signature.

    Attributes:
        scheme: how it was made.
        hash: the hash of the scheme, which is also that of a quote's PCR digest.
        parts: one part for RSA; r and s, big-endian with or without leading zeros, for ECDSA.
    """

    scheme: SigningScheme
    hash: HashAlg
    parts: tuple[bytes, ...] = field(repr=False)


def parse(data: bytes) -> Signature:
    """Read a signature.

    Raises:
        MalformedEvidence: an unknown scheme or hash, an oversized part, or trailing bytes.
    """
    reader = Reader(data)
    scheme = fields.known(reader, SigningScheme, "signature scheme")
    algorithm = fields.known(reader, HashAlg, "signature hash")
    if scheme is SigningScheme.ECDSA:
        most = Curve.P521.field_size
        parts: tuple[bytes, ...] = (
            fields.sized(reader, "signature r", most=most),
            fields.sized(reader, "signature s", most=most),
        )
    else:
        parts = (fields.sized(reader, "RSA signature", most=_MAX_RSA_BYTES),)
    reader.finish()
    return Signature(scheme, algorithm, parts)


def encode(signature: Signature) -> bytes:
    """Return the bytes that parse to `signature`."""
    head = fields.be(signature.scheme, 2) + fields.be(signature.hash, 2)
    return head + b"".join(fields.pack(part) for part in signature.parts)
