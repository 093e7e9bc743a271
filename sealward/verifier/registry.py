"""Which evidence the verifier understands: roles of files by content, formats by media type.

`sealward verify FILE...` needs no flags because `recognise` tells a report from a certificate; the
control plane needs no knowledge of formats because `authenticate` goes by the media type of the
envelope.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.snp import claims as snp_claims
from sealward.verifier.formats.snp import evidence as snp_evidence
from sealward.verifier.formats.snp import ghcb, selection, vek, view
from sealward.verifier.formats.snp import report as snp_report
from sealward.verifier.formats.snp import verify as snp
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.pki import certificate
from sealward.verifier.rats import evidence
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire import der, pem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sealward.verifier.formats.snp.endorsements import ChainCache
    from sealward.verifier.formats.snp.verify import VerifiedReport
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.rats.claims import Claims, Json
    from sealward.verifier.rats.distrust import DistrustEntry

MAX_FILE_BYTES: Final = evidence.MAX_ENVELOPE_BYTES  # the largest thing we recognise

_FULL_CHAIN: Final = 3
# How an envelope starts: a record is a CBOR array of two, a collection a map of 1 to 16.
_RECORD_START: Final = 0x82
_COLLECTION_STARTS: Final = range(0xA1, 0xA1 + evidence.MAX_ENTRIES)


@unique
class Role(StrEnum):
    """What a piece of input is."""

    SNP_REPORT = "SEV-SNP report"
    VEK = "AMD endorsement key (VCEK or VLEK)"
    INTERMEDIATE = "intermediate CA certificate"
    ROOT = "self-issued CA certificate"


@dataclass(frozen=True, slots=True)
class Item:
    """One recognised piece: its role and its bytes (certificates in DER)."""

    role: Role
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Context:
    """What verification depends on besides the evidence.

    Attributes:
        anchors: the roots trusted here.
        now: the instant to verify at, aware UTC.
        cache: chains verified before.
        certificates: CA certificates of our own (DER), to complete chains that attesters sent
            without them.
        distrusted: the distrust list.
        expected_vmpl: SNP privilege levels whose reports are taken without a verdict.
    """

    anchors: TrustAnchors
    now: datetime
    cache: ChainCache
    certificates: tuple[bytes, ...] = ()
    distrusted: tuple[DistrustEntry, ...] = ()
    expected_vmpl: frozenset[int] = snp_claims.ANY_GUEST_VMPL


def recognise(data: bytes) -> tuple[Item, ...]:
    """Return what a file holds, unpacking PEM bundles, certificate tables and envelopes.

    Raises:
        MalformedEvidence: it starts as a known thing and does not go on as one.
        RefusedEvidence: UNSUPPORTED_FORMAT when it is nothing we know.
    """
    if len(data) == snp_report.REPORT_SIZE and not data.startswith(_ENVELOPE_STARTS):
        snp_report.parse(data)
        return (Item(Role.SNP_REPORT, data),)
    if pem.looks_like(data):
        blocks = pem.decode(data, what="PEM file", max_bytes=MAX_FILE_BYTES)
        return tuple(_certificate(block) for block in blocks)
    if data[:1] == bytes((der.SEQUENCE,)):
        return (_certificate(data),)
    if data.startswith(_GUIDS):
        return _table(data)
    if data.startswith(_ENVELOPE_STARTS):
        return _record(evidence.decode(data))
    raise RefusedEvidence(
        Code.UNSUPPORTED_FORMAT,
        "the file is no evidence or endorsement that this version knows",
        expected="SEV-SNP report, certificate (DER, PEM), certificate table, or evidence envelope",
    )


@dataclass(frozen=True, slots=True)
class Verified:
    """Verified evidence: the normalised claims, and the format's own view behind them.

    Attributes:
        claims: what policies see.
        native: the format's verified evidence.
    """

    claims: Claims
    native: VerifiedReport = field(repr=False)

    def details(self) -> dict[str, Json]:
        """Return every field of the evidence and its endorsements as plain JSON."""
        endorsed = self.native.endorsed
        chain: list[Json] = list(endorsed.chain)
        return {
            "report": view.describe_report(self.native.report, endorsed.product),
            "vek": view.describe_vek(endorsed.vek),
            "vek_serial": str(endorsed.serial),
            "chain": chain,
        }


def authenticate(envelope: bytes, context: Context) -> Verified:
    """Verify an evidence envelope (one record).

    The caller MUST check binding and freshness of `claims.report_data`.

    Raises:
        MalformedEvidence: envelope, payload, report or certificate do not parse.
        RefusedEvidence: UNSUPPORTED_FORMAT for another media type or a collection, or what the
            format's own procedure says.
    """
    found = snp_evidence.parse(_snp_payload(evidence.decode(envelope)))
    return _authenticate_snp(found.report, found.certificates, context)


def authenticate_items(items: Iterable[Item], context: Context) -> Verified:
    """Verify the one report among recognised pieces, as `authenticate` does.

    Raises:
        MalformedEvidence: a piece does not parse.
        RefusedEvidence: EVIDENCE_MISSING, EVIDENCE_AMBIGUOUS, ENDORSEMENT_MISSING, or what the
            format's own procedure says.
    """
    pieces = tuple(items)
    reports = tuple(dict.fromkeys(item.data for item in pieces if item.role is Role.SNP_REPORT))
    if not reports:
        raise RefusedEvidence(
            Code.EVIDENCE_MISSING,
            "none of the files is an attestation report",
            hint="add the report the certificates belong to",
        )
    if len(reports) > 1:
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            f"{len(reports)} different reports were given",
            hint="verify one report at a time",
        )
    certificates = tuple(item.data for item in pieces if item.role is not Role.SNP_REPORT)
    endorsements = selection.select(certificates + context.certificates)
    return _verified(reports[0], endorsements, context)


# A table starts with the GUID of its first entry.
_GUIDS: Final = tuple(guid.bytes for guid in (*ghcb.CERTIFICATES, ghcb.CRL))
_ENVELOPE_STARTS: Final = tuple(bytes((start,)) for start in (_RECORD_START, *_COLLECTION_STARTS))


def _certificate(data: bytes) -> Item:
    parsed = certificate.parse(data)
    if vek.is_vek(parsed):
        return Item(Role.VEK, data)
    return Item(Role.ROOT if parsed.issuer == parsed.subject else Role.INTERMEDIATE, data)


def _table(data: bytes) -> tuple[Item, ...]:
    """Return the certificates of a GHCB table; what else a host puts there is not evidence."""
    items: list[Item] = []
    for entry in ghcb.parse(data).entries:
        if entry.guid not in ghcb.CERTIFICATES:
            continue
        if pem.looks_like(entry.data):
            blocks = pem.decode(entry.data, what="certificate table", max_bytes=MAX_FILE_BYTES)
            items.extend(_certificate(block) for block in blocks)
        else:
            items.append(_certificate(entry.data))
    return tuple(items)


def _record(envelope: evidence.Envelope) -> tuple[Item, ...]:
    found = snp_evidence.parse(_snp_payload(envelope))
    snp_report.parse(found.report)
    return (
        Item(Role.SNP_REPORT, found.report),
        *(_certificate(data) for data in found.certificates),
    )


def _snp_payload(envelope: evidence.Envelope) -> bytes:
    if not isinstance(envelope, evidence.Record) or envelope.media_type != evidence.SNP_EVIDENCE:
        raise RefusedEvidence(
            Code.UNSUPPORTED_FORMAT,
            "the evidence envelope holds something this version does not verify",
            expected=evidence.SNP_EVIDENCE,
            actual=envelope.media_type if isinstance(envelope, evidence.Record) else "a collection",
        )
    return envelope.value


def _authenticate_snp(report: bytes, certificates: tuple[bytes, ...], context: Context) -> Verified:
    # A whole chain in its order needs no parsing to be found in the cache.
    if len(certificates) == _FULL_CHAIN:
        return _verified(report, Endorsements(*certificates), context)
    return _verified(report, selection.select(certificates + context.certificates), context)


def _verified(report: bytes, endorsements: Endorsements, context: Context) -> Verified:
    verified = snp.authenticate(
        report, endorsements, anchors=context.anchors, now=context.now, cache=context.cache
    )
    claims = snp_claims.normalise(
        verified,
        now=context.now,
        expected_vmpl=context.expected_vmpl,
        distrusted=context.distrusted,
    )
    return Verified(claims, verified)
