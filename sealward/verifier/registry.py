"""Which evidence the verifier understands: roles of files by content, formats by media type.

`sealward verify FILE...` needs no flags because `recognise` tells a report from a certificate; the
control plane needs no knowledge of formats because `authenticate` goes by the media type of the
envelope.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.composite import tpm_files, tpm_node
from sealward.verifier.composite.tpm_files import Part
from sealward.verifier.composite.tpm_node import VerifiedNode
from sealward.verifier.formats.snp import claims as snp_claims
from sealward.verifier.formats.snp import evidence as snp_evidence
from sealward.verifier.formats.snp import ghcb, selection, vek, view
from sealward.verifier.formats.snp import report as snp_report
from sealward.verifier.formats.snp import verify as snp
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.formats.tpm import endorsement as tpm_endorsement
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.formats.tpm import quote as tpm_quote
from sealward.verifier.formats.tpm import view as tpm_view
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
    """What a piece of input is; the pieces of a TPM quote are `tpm_files.Part`."""

    SNP_REPORT = "SEV-SNP report"
    TPM_EVIDENCE = "TPM evidence"
    VEK = "AMD endorsement key (VCEK or VLEK)"
    INTERMEDIATE = "intermediate CA certificate"
    ROOT = "self-issued CA certificate"


@dataclass(frozen=True, slots=True)
class Item:
    """One recognised piece: its role and its bytes (certificates in DER)."""

    role: Role | Part
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
        tpm: what the tenant trusts of TPMs; None where TPM evidence is not taken at all.
    """

    anchors: TrustAnchors
    now: datetime
    cache: ChainCache
    certificates: tuple[bytes, ...] = ()
    distrusted: tuple[DistrustEntry, ...] = ()
    expected_vmpl: frozenset[int] = snp_claims.ANY_GUEST_VMPL
    tpm: tpm_node.Trust | None = None


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
    found = tpm_files.recognise(data)
    if found is not None:
        return (Item(*found),)
    raise RefusedEvidence(
        Code.UNSUPPORTED_FORMAT,
        "the file is no evidence or endorsement that this version knows",
        expected="SEV-SNP report, part of a TPM quote, certificate (DER, PEM), certificate table,"
        " or evidence envelope",
        hint="name the role of a file that content does not tell",
    )


def in_role(part: Part, data: bytes) -> Item:
    """Return a file whose role was named, for those that `recognise` cannot tell.

    Raises:
        MalformedEvidence: it is not that.
    """
    return Item(part, tpm_files.read(part, data))


@dataclass(frozen=True, slots=True)
class Verified:
    """Verified evidence: the normalised claims, and the format's own view behind them.

    Attributes:
        claims: what policies see.
        native: the format's verified evidence.
    """

    claims: Claims
    native: VerifiedReport | VerifiedNode = field(repr=False)

    def details(self) -> dict[str, Json]:
        """Return every field of the evidence and its endorsements as plain JSON."""
        if isinstance(self.native, VerifiedNode):
            return _describe_node(self.native)
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
    decoded = evidence.decode(envelope)
    if isinstance(decoded, evidence.Record) and decoded.media_type == evidence.TPM_EVIDENCE:
        return _authenticate_tpm(tpm_evidence.parse(decoded.value), context)
    return _authenticate_snp(snp_evidence.parse(_snp_payload(decoded)), context)


def authenticate_items(items: Iterable[Item], context: Context) -> Verified:
    """Verify the one report among recognised pieces, as `authenticate` does.

    Raises:
        MalformedEvidence: a piece does not parse.
        RefusedEvidence: EVIDENCE_MISSING, EVIDENCE_AMBIGUOUS, ENDORSEMENT_MISSING, or what the
            format's own procedure says.
    """
    pieces = tuple(items)
    if any(item.role is Role.TPM_EVIDENCE or item.role is Part.QUOTE for item in pieces):
        return _authenticate_tpm_items(pieces, context)
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
    certificates = tuple(
        item.data
        for item in pieces
        if isinstance(item.role, Role) and item.role is not Role.SNP_REPORT
    )
    endorsements = selection.select(certificates + context.certificates)
    return _verified(reports[0], endorsements, context)


# A table starts with the GUID of its first entry.
_GUIDS: Final = tuple(guid.bytes for guid in (*ghcb.CERTIFICATES, ghcb.CRL))
_ENVELOPE_STARTS: Final = tuple(bytes((start,)) for start in (_RECORD_START, *_COLLECTION_STARTS))


def _certificate(data: bytes) -> Item:
    parsed = certificate.parse(data)
    if vek.is_vek(parsed):
        return Item(Role.VEK, data)
    if tpm_endorsement.is_ek_certificate(parsed):
        return Item(Part.EK_CERTIFICATE, data)
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
    if isinstance(envelope, evidence.Record) and envelope.media_type == evidence.TPM_EVIDENCE:
        return (Item(Role.TPM_EVIDENCE, envelope.value),)
    found = snp_evidence.parse(_snp_payload(envelope))
    snp_report.parse(found.report)
    return (
        Item(Role.SNP_REPORT, found.report),
        *(_certificate(data) for data in _sent(found)),
    )


def _sent(found: snp_evidence.Evidence) -> tuple[bytes, ...]:
    """Return the certificates (DER) that came with a report, unpacking a table."""
    if not found.table:  # none, or an empty one: the host gave no certificates
        return found.certificates
    return tuple(item.data for item in _table(found.table))


def _snp_payload(envelope: evidence.Envelope) -> bytes:
    if not isinstance(envelope, evidence.Record) or envelope.media_type != evidence.SNP_EVIDENCE:
        raise RefusedEvidence(
            Code.UNSUPPORTED_FORMAT,
            "the evidence envelope holds something this version does not verify",
            expected=evidence.SNP_EVIDENCE,
            actual=envelope.media_type if isinstance(envelope, evidence.Record) else "a collection",
        )
    return envelope.value


def _authenticate_snp(found: snp_evidence.Evidence, context: Context) -> Verified:
    # A whole chain in its order needs no parsing to be found in the cache.
    if len(found.certificates) == _FULL_CHAIN:
        return _verified(found.report, Endorsements(*found.certificates), context)
    sent = _sent(found)  # a table has no order
    own = () if len(sent) >= _FULL_CHAIN else context.certificates
    return _verified(found.report, selection.select(sent + own), context)


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


def _authenticate_tpm(
    found: tpm_evidence.Evidence, context: Context, certificates: tuple[bytes, ...] = ()
) -> Verified:
    """Verify TPM evidence of our own payload, whose nonce is a binding (evidence-binding 2)."""
    node = tpm_node.authenticate(
        found,
        trust=_tpm_trust(context, certificates),
        now=context.now,
        distrusted=context.distrusted,
    )
    if len(node.quote.nonce) != tpm_quote.NONCE_SIZE:
        raise RefusedEvidence(
            Code.BINDING_MISMATCH,
            "the quote's nonce is no binding",
            claim="report_data",
            expected=f"{tpm_quote.NONCE_SIZE} bytes",
            actual=f"{len(node.quote.nonce)} bytes",
        )
    return Verified(node.claims, node)


def _authenticate_tpm_items(pieces: tuple[Item, ...], context: Context) -> Verified:
    whole = tuple(dict.fromkeys(i.data for i in pieces if i.role is Role.TPM_EVIDENCE))
    parts = [(item.role, item.data) for item in pieces if isinstance(item.role, Part)]
    reports = any(item.role is Role.SNP_REPORT for item in pieces)
    if reports or len(whole) > 1 or (whole and parts):
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            "a TPM quote and other evidence were given",
            hint="verify one piece of evidence at a time",
        )
    others = tuple(item.data for item in pieces if item.role in (Role.INTERMEDIATE, Role.ROOT))
    if whole:
        return _authenticate_tpm(tpm_evidence.parse(whole[0]), context, others)
    found, ek_public = tpm_files.assemble(parts)
    node = tpm_node.authenticate(
        found,
        trust=_tpm_trust(context, others),
        now=context.now,
        distrusted=context.distrusted,
    )
    if ek_public is not None:
        if node.ek is None:
            raise RefusedEvidence(
                Code.ENDORSEMENT_MISSING,
                "the endorsement key has no certificate",
                hint="add the certificate of the endorsement key, or leave its public area out",
            )
        tpm_endorsement.check_key(node.ek, ek_public)
    return Verified(node.claims, node)


def _tpm_trust(context: Context, certificates: tuple[bytes, ...]) -> tpm_node.Trust:
    if context.tpm is None:
        raise RefusedEvidence(
            Code.UNSUPPORTED_FORMAT,
            "TPM evidence is not taken here",
            hint="add the roots of your TPMs' vendors as trust anchors",
        )
    return replace(
        context.tpm,
        certificates=(*context.tpm.certificates, *context.certificates, *certificates),
    )


def _describe_node(node: VerifiedNode) -> dict[str, Json]:
    chain: list[Json] = [] if node.ek is None else [*node.ek.chain]
    return {
        "quote": tpm_view.describe_attest(node.quote.attest),
        "ak": tpm_view.describe_public(node.quote.ak),
        "chain": chain,
    }
