"""Hygon CSV reports with their certificates, as the registry takes them."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.hygon_csv import certificate as certificates
from sealward.verifier.formats.hygon_csv import claims as hygon_claims
from sealward.verifier.formats.hygon_csv import evidence as hygon_evidence
from sealward.verifier.formats.hygon_csv import report as reports
from sealward.verifier.formats.hygon_csv import verify as hygon
from sealward.verifier.formats.hygon_csv import view
from sealward.verifier.formats.hygon_csv.certificate import CA_SIZE, CSV_SIZE, Usage
from sealward.verifier.formats.hygon_csv.endorsements import Endorsements
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import HYGON_EVIDENCE
from sealward.verifier.registry.context import Item, Kind, Verified
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from sealward.verifier.formats.hygon_csv.verify import VerifiedReport
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.evidence import Record
    from sealward.verifier.registry.context import Context


@unique
class HygonRole(StrEnum):
    """The pieces of CSV evidence; the PEK is in the report."""

    REPORT = "Hygon CSV report"
    CEK = "Hygon chip endorsement key (CEK)"
    HSK = "Hygon signing key (HSK)"
    HRK = "Hygon root key (HRK)"


_BOTH: Final = CA_SIZE + CSV_SIZE  # HSK, then CEK: the file that Hygon gives for a serial number
_SIZES: Final = {CA_SIZE, CSV_SIZE, _BOTH}
_CA_ROLES: Final = {Usage.HRK: HygonRole.HRK, Usage.HSK: HygonRole.HSK}


def _recognise(data: bytes) -> tuple[Item, ...] | None:
    """Return a report, or the certificates of a file of one of the three sizes."""
    if reports.looks_like(data):
        reports.parse(data)
        return (Item(HygonRole.REPORT, data),)
    if len(data) not in _SIZES or not certificates.looks_like(data):
        return None
    reader = Reader(data)
    items: list[Item] = []
    if len(data) != CSV_SIZE:
        items.append(_ca(reader.take(CA_SIZE, "CA certificate")))
    if len(data) != CA_SIZE:
        cek = reader.take(CSV_SIZE, "CSV certificate")
        certificates.parse_csv(cek)
        items.append(Item(HygonRole.CEK, cek))
    return tuple(items)


def _ca(data: bytes) -> Item:
    return Item(_CA_ROLES.get(certificates.parse_ca(data).usage, HygonRole.HSK), data)


def _unpack(record: Record) -> tuple[Item, ...]:
    found = hygon_evidence.parse(record.value)
    reports.parse(found.report)
    above = found.endorsements
    return (
        Item(HygonRole.REPORT, found.report),
        Item(HygonRole.CEK, above.cek),
        Item(HygonRole.HSK, above.hsk),
        Item(HygonRole.HRK, above.hrk),
    )


def _authenticate(record: Record, context: Context) -> Verified:
    found = hygon_evidence.parse(record.value)
    return _verified(found.report, found.endorsements, context)


def _assemble(pieces: tuple[Item, ...], context: Context) -> Verified:
    endorsements = Endorsements(
        cek=_one(pieces, HygonRole.CEK),
        hsk=_one(pieces, HygonRole.HSK),
        hrk=_one(pieces, HygonRole.HRK),
    )
    return _verified(_one(pieces, HygonRole.REPORT), endorsements, context)


def _one(pieces: tuple[Item, ...], role: HygonRole) -> bytes:
    found = tuple(dict.fromkeys(item.data for item in pieces if item.role is role))
    if len(found) > 1:
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            f"{len(found)} different files are each a {role}",
            hint="verify one report at a time, with one file of each kind",
        )
    if not found:
        raise RefusedEvidence(
            Code.ENDORSEMENT_MISSING,
            f"none of the files is the {role}",
            hint="add HSK and CEK, which Hygon gives for a processor's serial number, and the HRK",
        )
    return found[0]


def _verified(report: bytes, endorsements: Endorsements, context: Context) -> Verified:
    verified = hygon.authenticate(
        report, endorsements, anchors=context.anchors, cache=context.cache
    )
    claims = hygon_claims.normalise(verified, now=context.now, distrusted=context.distrusted)
    return Verified(claims, verified, lambda: _describe(verified))


def _describe(verified: VerifiedReport) -> dict[str, Json]:
    chain: list[Json] = [*verified.endorsed.chain]
    return {"report": view.describe_report(verified.report), "chain": chain}


KIND: Final = Kind(
    name="hygon-csv",
    media_types=frozenset({HYGON_EVIDENCE}),
    evidence=frozenset({HygonRole.REPORT}),
    recognise=_recognise,
    unpack=_unpack,
    authenticate=_authenticate,
    assemble=_assemble,
)
