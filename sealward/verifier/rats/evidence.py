"""The envelope evidence travels in: a RATS conceptual message wrapper (CMW), CBOR forms.

    record     = [ media-type: tstr, value: bstr ]
    collection = { + label: tstr => record / collection }

Source: draft-ietf-rats-msg-wrap section 3; our profile is docs/specs/evidence-envelope.md. Types
are media types and never content-format numbers, the indicator member is not used, and everything
is deterministic CBOR, so an envelope has one encoding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor

SNP_EVIDENCE: Final = "application/vnd.sealward.snp-evidence+cbor"
TPM_EVIDENCE: Final = "application/vnd.sealward.tpm-evidence+cbor"
TDX_EVIDENCE: Final = "application/vnd.sealward.tdx-evidence+cbor"
SGX_EVIDENCE: Final = "application/vnd.sealward.sgx-evidence+cbor"
NITRO_EVIDENCE: Final = "application/vnd.sealward.nitro-evidence+cbor"
CCA_EVIDENCE: Final = "application/vnd.sealward.cca-evidence+cbor"
PSA_EVIDENCE: Final = "application/vnd.sealward.psa-evidence+cbor"
HYGON_EVIDENCE: Final = "application/vnd.sealward.hygon-evidence+cbor"
AZURE_EVIDENCE: Final = "application/vnd.sealward.azure-evidence+cbor"
GOOGLE_EVIDENCE: Final = "application/vnd.sealward.google-evidence+cbor"
NVIDIA_EVIDENCE: Final = "application/vnd.sealward.nvidia-evidence+cbor"

MAX_ENVELOPE_BYTES: Final = 256 * 1024  # CPU, TPM and eight GPUs with chains come to about 150 KiB
MAX_ENTRIES: Final = 16  # one per sub-evidence; eight GPUs, four switches, CPU, TPM, logs
MAX_LABEL: Final = 64
MAX_NESTING: Final = 3  # collections in collections; a composite attester needs two

_RECORD_PARTS: Final = 2
_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
# RFC 6838 section 4.2 restricted names, in lower case and without parameters: one spelling.
_MEDIA_TYPE: Final = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One conceptual message: what it is, and its bytes, which this module does not look into."""

    media_type: str
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Collection:
    """Several messages under labels, sorted by label."""

    entries: tuple[tuple[str, Envelope], ...]


Envelope: TypeAlias = "Record | Collection"


def encode(envelope: Envelope) -> bytes:
    """Return the deterministic CBOR of an envelope.

    Raises:
        ValueError: a media type, label or shape that `decode` would refuse.
    """
    data = cbor.encode(_value(envelope))
    try:
        again = decode(data)
    except MalformedEvidence as error:
        raise ValueError(f"not an envelope that could be read back: {error}") from error
    if again != envelope:
        raise ValueError("the entries of a collection are sorted by label, without repetition")
    return data


def decode(data: bytes) -> Envelope:
    """Read an envelope.

    Raises:
        MalformedEvidence: not one deterministic record or collection within the budgets.
    """
    value = cbor.decode(data, what="evidence envelope", max_bytes=MAX_ENVELOPE_BYTES)
    return _envelope(value, MAX_NESTING)


def _value(envelope: Envelope) -> cbor.Encodable:
    if isinstance(envelope, Record):
        return [envelope.media_type, envelope.value]
    return {label: _value(entry) for label, entry in envelope.entries}


def _envelope(value: cbor.Value, nesting: int) -> Envelope:
    if isinstance(value, list):
        return _record(value)
    if not isinstance(value, dict) or nesting == 0:
        raise MalformedEvidence(0, "evidence envelope: neither a record nor a collection")
    if not 1 <= len(value) <= MAX_ENTRIES:
        raise MalformedEvidence(
            0, f"evidence envelope: a collection has 1 to {MAX_ENTRIES} entries"
        )
    entries: list[tuple[str, Envelope]] = []
    for label, item in value.items():
        if not isinstance(label, str) or len(label) > MAX_LABEL or not _LABEL.fullmatch(label):
            raise MalformedEvidence(0, "evidence envelope: a label is not lower-case text")
        entries.append((label, _envelope(item, nesting - 1)))
    return Collection(tuple(sorted(entries, key=lambda entry: entry[0])))


def _record(value: list[cbor.Value]) -> Record:
    if len(value) != _RECORD_PARTS:
        raise MalformedEvidence(0, "evidence envelope: a record is [media type, bytes]")
    media_type, content = value
    if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
        raise MalformedEvidence(0, "evidence envelope: not a media type in lower case")
    if not isinstance(content, bytes):
        raise MalformedEvidence(0, "evidence envelope: the value is not a byte string")
    return Record(media_type, content)
