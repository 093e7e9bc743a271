"""AWS Nitro attestation document: bytes to fields.

Source: AWS, "Verifying the root of trust" (Nitro Enclaves user guide), and its
aws-nitro-enclaves-nsm-api documentation, "attestation_process". A COSE_Sign1 without tag (tag 18 is
allowed) whose payload is one CBOR map:

    module_id    text                     i-<instance>-enc<enclave>
    digest       "SHA384"
    timestamp    uint, milliseconds since 1970-01-01 UTC
    pcrs         { 1*32 index 0..31 => bstr .size (32 / 48 / 64) }
    certificate  bstr 1..1024, DER
    cabundle     [ 1* bstr 1..1024 ], DER, root first
    public_key   bstr 1..1024 / null, or absent
    user_data    bstr 0..1024 / null, or absent     (one of AWS's texts says 512)
    nonce        bstr 0..1024 / null, or absent

AWS's text allows no null; every real document has nulls for what was not given. This module parses;
nothing here is verified. See `sealward.verifier.formats.nitro.verify`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import foreign_cbor, foreign_cose, statement
from sealward.verifier.wire.cbor import Value
from sealward.verifier.wire.foreign_cose import Message
from sealward.verifier.wire.statement import Statement

MAX_BYTES: Final = 12 * 1024  # NSM_RESPONSE_MAX_SIZE: the module's answer is never longer

_WHAT: Final = "Nitro document"
_TAGS: Final = frozenset({None, foreign_cose.SIGN1_TAG})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MILLISECOND: Final = 253_402_300_799_999  # of the year 9999
_MAX_MODULE_ID: Final = 128  # real ones have 39 characters
_PCR_INDEX: Final = f"{_WHAT}: PCR index"
_PCRS: Final = 32
_PCR_SIZES: Final = (32, 48, 64)
_MAX_FIELD: Final = 1024
_MAX_CABUNDLE: Final = 8  # real ones have 4
_LAUNCH_PCRS: Final = frozenset({0, 1, 2})


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed and unverified attestation document.

    Attributes:
        message: the COSE message.
        module_id: the enclave, as the hypervisor names it.
        timestamp: when the document was made, by the hypervisor's clock; aware UTC.
        timestamp_ms: the same as the document has it.
        pcrs: (index, value) ascending; PCR 0, 1 and 2 are always there.
        certificate: of the key that signed, DER.
        cabundle: its issuers, DER, root first.
        public_key, user_data, nonce: what the enclave asked to have signed; None when nothing.
    """

    message: Message
    module_id: str
    timestamp: datetime
    timestamp_ms: int
    pcrs: tuple[tuple[int, bytes], ...]
    certificate: bytes = field(repr=False)
    cabundle: tuple[bytes, ...] = field(repr=False)
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None

    def pcr(self, index: int) -> bytes | None:
        """Return the value of a PCR; None when the document has none, or nothing but zeros."""
        return next((value for at, value in self.pcrs if at == index and any(value)), None)

    @property
    def debug(self) -> bool:
        """The enclave runs in debug mode: PCR 0, 1 and 2 are zero and its console is readable."""
        return not any(self.pcr(index) for index in _LAUNCH_PCRS)


def parse(data: bytes) -> Document:
    """Read a document.

    Raises:
        MalformedEvidence: not the message and map above within their sizes.
    """
    message = foreign_cose.parse(data, what=_WHAT, max_bytes=MAX_BYTES, tags=_TAGS)
    payload = foreign_cbor.decode(message.payload, what=_WHAT, max_bytes=MAX_BYTES, max_depth=2)
    fields = Statement(payload, _WHAT)
    if fields.text("digest", "digest") != "SHA384":
        raise MalformedEvidence(0, f"{_WHAT}: the only known digest is SHA384")
    milliseconds = fields.uint("timestamp", "timestamp", most=_LAST_MILLISECOND)
    if milliseconds == 0:
        raise MalformedEvidence(0, f"{_WHAT}: the timestamp is zero")
    document = Document(
        message=message,
        module_id=fields.text("module_id", "module_id", most=_MAX_MODULE_ID),
        timestamp=_EPOCH + timedelta(milliseconds=milliseconds),
        timestamp_ms=milliseconds,
        pcrs=_pcrs(fields.nullable("pcrs", "pcrs")),
        certificate=fields.octets("certificate", "certificate", most=_MAX_FIELD),
        cabundle=_cabundle(fields.items("cabundle", "cabundle", most=_MAX_CABUNDLE)),
        public_key=_optional(fields, "public_key", least=1),
        user_data=_optional(fields, "user_data", least=0),
        nonce=_optional(fields, "nonce", least=0),
    )
    fields.finish()
    return document


def _pcrs(value: Value) -> tuple[tuple[int, bytes], ...]:
    if not isinstance(value, dict) or not value.keys() >= _LAUNCH_PCRS or len(value) > _PCRS:
        raise MalformedEvidence(0, f"{_WHAT}: pcrs is not a map with PCR 0, 1 and 2")
    found: list[tuple[int, bytes]] = []
    for index, digest in value.items():
        number = statement.uint(index, _PCR_INDEX, most=_PCRS - 1)
        if not isinstance(digest, bytes) or len(digest) not in _PCR_SIZES:
            raise MalformedEvidence(0, f"{_WHAT}: PCR {number} is not of 32, 48 or 64 bytes")
        found.append((number, digest))
    return tuple(sorted(found))


def _cabundle(items: list[Value]) -> tuple[bytes, ...]:
    if not items:
        raise MalformedEvidence(0, f"{_WHAT}: cabundle is empty")
    return tuple(statement.octets(item, f"{_WHAT}: cabundle", most=_MAX_FIELD) for item in items)


def _optional(fields: Statement, name: str, *, least: int) -> bytes | None:
    if not fields.has(name):
        return None
    value = fields.nullable(name, name)
    if value is None:
        return None
    if not isinstance(value, bytes) or not least <= len(value) <= _MAX_FIELD:
        raise MalformedEvidence(0, f"{_WHAT}: {name} is not {least}..{_MAX_FIELD} bytes or null")
    return value
