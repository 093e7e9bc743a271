"""The firmware that a device's key belongs to, as its certificate names it.

TCG DICE Attestation Architecture 1.1: section 6.1.1 (tcg-dice-TcbInfo, 2.23.133.5.4.1) on Blackwell
under its later number 2.23.133.5.4.1.1; Hopper and LS10 have the older composite device identity of
DICE Layering (2.23.133.5.4.1: version, device key, FWID). Both name a SHA-384 digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import der

if TYPE_CHECKING:
    from sealward.verifier.pki.certificate import Certificate

OID_COMPOSITE: Final = "2.23.133.5.4.1"
OID_TCB_INFO: Final = "2.23.133.5.4.1.1"

_SHA384: Final = "2.16.840.1.101.3.4.2.2"
_SIZE: Final = 48
_FWIDS: Final = 0xA6  # tcg-dice-TcbInfo: fwids [6] IMPLICIT SEQUENCE OF FWID
_MAX_BYTES: Final = 1024
_WHAT: Final = "FWID extension"


def of(leaf: Certificate) -> bytes:
    """Return the FWID of a leaf, 48 bytes.

    Raises:
        MalformedEvidence: it has none, or both forms, or one that does not parse.
    """
    composite, tcb_info = leaf.extension(OID_COMPOSITE), leaf.extension(OID_TCB_INFO)
    if composite is not None and tcb_info is None:
        return _composite(composite.value)
    if tcb_info is not None and composite is None:
        return _tcb_info(tcb_info.value)
    raise MalformedEvidence(0, "NVIDIA leaf: not exactly one extension names its firmware")


def _composite(value: bytes) -> bytes:
    """CompositeDeviceID: SEQUENCE { version INTEGER 1, SubjectPublicKeyInfo, FWID }."""
    outer = der.read(value, what=_WHAT, max_bytes=_MAX_BYTES)
    body = outer.enter(_WHAT)
    outer.finish()
    if body.integer("version", max_bytes=1) != 1:
        raise MalformedEvidence(0, f"{_WHAT}: only version 1 is read")
    body.opaque("device key", der.SEQUENCE)
    found = _fwid(body)
    body.finish()
    return found


def _tcb_info(value: bytes) -> bytes:
    """TcbInfo: a SEQUENCE of optional fields, ascending by tag; the first of fwids counts."""
    outer = der.read(value, what=_WHAT, max_bytes=_MAX_BYTES)
    body = outer.enter(_WHAT)
    outer.finish()
    found = None
    last = -1
    while not body.empty:
        item = body.opaque(_WHAT)
        number = item.tag & 0x1F
        if number <= last:
            raise MalformedEvidence(item.offset, f"{_WHAT}: its fields are not in order")
        last = number
        if item.tag == _FWIDS:
            fwids = body.into(item, _WHAT)
            found = _fwid(fwids)
            while not fwids.empty:
                _fwid(fwids)
    if found is None:
        raise MalformedEvidence(0, f"{_WHAT}: it names no firmware")
    return found


def _fwid(reader: der.DerReader) -> bytes:
    """FWID: SEQUENCE { hashAlg OBJECT IDENTIFIER, digest OCTET STRING }."""
    body = reader.enter("FWID")
    algorithm = body.oid("FWID hash")
    digest = body.element("FWID digest", der.OCTET_STRING)
    body.finish()
    if algorithm != _SHA384 or len(digest.content) != _SIZE:
        raise MalformedEvidence(digest.offset, "FWID: not a SHA-384 digest")
    return digest.content
