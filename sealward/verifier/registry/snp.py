"""SEV-SNP reports with their certificates, as the registry takes them."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.snp import claims as snp_claims
from sealward.verifier.formats.snp import evidence as snp_evidence
from sealward.verifier.formats.snp import lookup, revocation, vek, view
from sealward.verifier.formats.snp import report as snp_report
from sealward.verifier.formats.snp import verify as snp
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import SNP_EVIDENCE
from sealward.verifier.registry import certificates
from sealward.verifier.registry.context import Item, Kind, Role, Verified

if TYPE_CHECKING:
    from sealward.verifier.formats.snp.verify import VerifiedReport
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.evidence import Record
    from sealward.verifier.registry.context import Context

_FULL_CHAIN: Final = 3


@unique
class SnpRole(StrEnum):
    """The pieces of SNP evidence."""

    REPORT = "SEV-SNP report"
    VEK = "AMD endorsement key (VCEK or VLEK)"


_CERTIFICATES: Final = (SnpRole.VEK, Role.INTERMEDIATE, Role.ROOT)


def _recognise(data: bytes) -> tuple[Item, ...] | None:
    """Return a report, or what a certificate table holds."""
    if certificates.is_table(data):
        return certificates.of_table(data, _certificate)
    # A map or an array of two is an envelope, whatever its length.
    if len(data) != snp_report.REPORT_SIZE or certificates.may_be_envelope(data):
        return None
    snp_report.parse(data)
    return (Item(SnpRole.REPORT, data),)


def _certificate(parsed: Certificate) -> StrEnum | None:
    return SnpRole.VEK if vek.is_vek(parsed) else None


def _unpack(record: Record) -> tuple[Item, ...]:
    found = snp_evidence.parse(record.value)
    snp_report.parse(found.report)
    return (
        Item(SnpRole.REPORT, found.report),
        *(certificates.item(data, _certificate) for data in _sent(found)),
    )


def _sent(found: snp_evidence.Evidence) -> tuple[bytes, ...]:
    """Return the certificates (DER) that came with a report, unpacking a table."""
    if not found.table:  # none, or an empty one: the host gave no certificates
        return found.certificates
    return tuple(item.data for item in certificates.of_table(found.table, _certificate))


def _authenticate(record: Record, context: Context) -> Verified:
    found = snp_evidence.parse(record.value)
    # A whole chain in its order needs no parsing to be found in the cache.
    if len(found.certificates) == _FULL_CHAIN:
        return _verified(found.report, Endorsements(*found.certificates), context)
    sent = _sent(found)  # a table has no order
    own = () if len(sent) >= _FULL_CHAIN else context.certificates
    endorsements = lookup.select(found.report, sent + own, context.collateral)
    return _verified(found.report, endorsements, context)


def _assemble(pieces: tuple[Item, ...], context: Context) -> Verified:
    reports = tuple(dict.fromkeys(item.data for item in pieces if item.role is SnpRole.REPORT))
    if len(reports) > 1:
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            f"{len(reports)} different reports were given",
            hint="verify one report at a time",
        )
    sent = tuple(item.data for item in pieces if item.role in _CERTIFICATES)
    endorsements = lookup.select(reports[0], sent + context.certificates, context.collateral)
    return _verified(reports[0], endorsements, context)


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
    until = revocation.check(
        endorsements,
        verified.endorsed,
        source=context.collateral,
        now=context.now,
        cache=context.cache,
    )
    if until is not None:
        claims = revocation.checked(claims, until)
    return Verified(claims, verified, lambda: _describe(verified))


def _describe(verified: VerifiedReport) -> dict[str, Json]:
    endorsed = verified.endorsed
    chain: list[Json] = list(endorsed.chain)
    return {
        "report": view.describe_report(verified.report, endorsed.product),
        "vek": view.describe_vek(endorsed.vek),
        "vek_serial": str(endorsed.serial),
        "chain": chain,
    }


KIND: Final = Kind(
    name="snp",
    media_types=frozenset({SNP_EVIDENCE}),
    evidence=frozenset({SnpRole.REPORT}),
    recognise=_recognise,
    unpack=_unpack,
    authenticate=_authenticate,
    assemble=_assemble,
    certificate=_certificate,
)
