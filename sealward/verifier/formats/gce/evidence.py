"""Our Google evidence payload, media type application/vnd.sealward.google-evidence+cbor.

    { 1: TPM evidence payload, 2: [ 1*4 certificate (DER) ] }                 deterministic CBOR

1 is what a TPM attester without Google's key sends (docs/specs/evidence-envelope.md, section 7);
the certificates are that of the attestation key first, and above it what the attester has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sealward.verifier.formats.gce.attestation_key import MAX_CHAIN
from sealward.verifier.pki.certificate import MAX_CERTIFICATE_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor

_TPM: Final = 1
_CERTIFICATES: Final = 2
_MAX_BYTES: Final = 256 * 1024
_WHAT: Final = "Google evidence"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A TPM's evidence, not taken apart, and certificates of its key, leaf first."""

    tpm: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)


def encode(evidence: Evidence) -> bytes:
    """Return the payload of `evidence`."""
    return cbor.encode({_TPM: evidence.tpm, _CERTIFICATES: evidence.certificates})


def parse(payload: bytes) -> Evidence:
    """Read a payload; what the byte strings hold is not looked at.

    Raises:
        MalformedEvidence: not the map above, or beyond the sizes of its parts.
    """
    value = cbor.decode(payload, what=_WHAT, max_bytes=_MAX_BYTES)
    if not isinstance(value, dict) or value.keys() != {_TPM, _CERTIFICATES}:
        raise MalformedEvidence(0, f"{_WHAT}: not a map of exactly 1 and 2")
    tpm, certificates = value[_TPM], value[_CERTIFICATES]
    if not isinstance(tpm, bytes):
        raise MalformedEvidence(0, f"{_WHAT}: the TPM's evidence is not a byte string")
    if not isinstance(certificates, list) or not 1 <= len(certificates) <= MAX_CHAIN:
        raise MalformedEvidence(0, f"{_WHAT}: a list of 1 to {MAX_CHAIN} certificates")
    found: list[bytes] = []
    for item in certificates:
        if not isinstance(item, bytes) or not 0 < len(item) <= MAX_CERTIFICATE_BYTES:
            raise MalformedEvidence(0, f"{_WHAT}: a certificate is a byte string of bounded size")
        found.append(item)
    return Evidence(tpm, tuple(found))
