"""Certificates as files hold them: DER, PEM bundles, and the certificate tables of AMD hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.snp import ghcb
from sealward.verifier.pki import certificate
from sealward.verifier.rats import evidence
from sealward.verifier.registry.context import Item, Role
from sealward.verifier.wire import der, pem

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import StrEnum

    from sealward.verifier.pki.certificate import Certificate

MAX_FILE_BYTES: Final = evidence.MAX_ENVELOPE_BYTES  # the largest thing we recognise

# How an envelope starts: a record is a CBOR array of two, a collection a map of 1 to 16.
_RECORD_START: Final = 0x82
_COLLECTION_STARTS: Final = range(0xA1, 0xA1 + evidence.MAX_ENTRIES)
_ENVELOPE_STARTS: Final = tuple(bytes((start,)) for start in (_RECORD_START, *_COLLECTION_STARTS))
# A table starts with the GUID of its first entry.
_GUIDS: Final = tuple(guid.bytes for guid in (*ghcb.CERTIFICATES, ghcb.CRL))


def may_be_envelope(data: bytes) -> bool:
    """Whether the first byte is that of an evidence envelope."""
    return data.startswith(_ENVELOPE_STARTS)


def is_table(data: bytes) -> bool:
    """Whether it starts as a GHCB certificate table."""
    return data.startswith(_GUIDS)


def of_file(data: bytes, role: Callable[[Certificate], StrEnum | None]) -> tuple[Item, ...] | None:
    """Return the certificates of a file in DER or PEM; None when it starts as neither.

    Raises:
        MalformedEvidence: it goes on as something else.
    """
    if pem.looks_like(data):
        blocks = pem.decode(data, what="PEM file", max_bytes=MAX_FILE_BYTES)
        return tuple(item(block, role) for block in blocks)
    if data[:1] == bytes((der.SEQUENCE,)):
        return (item(data, role),)
    return None


def of_table(data: bytes, role: Callable[[Certificate], StrEnum | None]) -> tuple[Item, ...]:
    """Return the certificates of a GHCB table; what else a host puts there is not evidence.

    Raises:
        MalformedEvidence: not a table, or an entry for a certificate holds none.
    """
    items: list[Item] = []
    for entry in ghcb.parse(data).entries:
        if entry.guid not in ghcb.CERTIFICATES:
            continue
        if pem.looks_like(entry.data):
            blocks = pem.decode(entry.data, what="certificate table", max_bytes=MAX_FILE_BYTES)
            items.extend(item(block, role) for block in blocks)
        else:
            items.append(item(entry.data, role))
    return tuple(items)


def item(data: bytes, role: Callable[[Certificate], StrEnum | None]) -> Item:
    """Return one DER certificate under the role a kind gives it, else as a CA certificate.

    Raises:
        MalformedEvidence: not a certificate.
    """
    parsed = certificate.parse(data)
    own = role(parsed)
    if own is None:
        own = Role.ROOT if parsed.issuer == parsed.subject else Role.INTERMEDIATE
    return Item(own, data)
