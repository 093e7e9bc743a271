"""Azure's confidential VMs, as the registry takes them: HCL report, quote, hardware evidence."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.composite import azure_evidence, azure_vtpm, tpm_files
from sealward.verifier.composite.azure_vtpm import Evidence
from sealward.verifier.composite.tpm_files import Part
from sealward.verifier.formats.dcap import claims as dcap_claims
from sealward.verifier.formats.dcap import verify as dcap
from sealward.verifier.formats.dcap import view as dcap_view
from sealward.verifier.formats.dcap.td_report import TdReport
from sealward.verifier.formats.hcl import report as hcl
from sealward.verifier.formats.hcl import view as hcl_view
from sealward.verifier.formats.hcl.report import Hardware
from sealward.verifier.formats.snp import claims as snp_claims
from sealward.verifier.formats.snp import lookup, revocation
from sealward.verifier.formats.snp import verify as snp
from sealward.verifier.formats.snp import view as snp_view
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.formats.tpm import view as tpm_view
from sealward.verifier.formats.tpm.quote import VerifiedQuote
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import AZURE_EVIDENCE
from sealward.verifier.registry import dcap as intel
from sealward.verifier.registry.context import Item, Kind, Role, Verified
from sealward.verifier.registry.dcap import DcapRole
from sealward.verifier.registry.snp import SnpRole

if TYPE_CHECKING:
    from sealward.verifier.composite.azure_vtpm import VerifiedMachine
    from sealward.verifier.formats.hcl.report import HclReport
    from sealward.verifier.formats.snp.verify import VerifiedReport
    from sealward.verifier.pki.chain_cache import ChainCache, Key
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.evidence import Record
    from sealward.verifier.registry.context import Context

_CHAIN: Final = "azure-chain"
_FULL_CHAIN: Final = 3
_CERTIFICATES: Final = (SnpRole.VEK, Role.INTERMEDIATE, Role.ROOT)
_SNP_SCOPES: Final = azure_vtpm.scopes_over(snp_claims.SCOPES)
_TDX_SCOPES_1_0: Final = azure_vtpm.scopes_over(dcap_claims.SCOPES_1_0)
_TDX_SCOPES_1_5: Final = azure_vtpm.scopes_over(dcap_claims.SCOPES_1_5)


@unique
class AzureRole(StrEnum):
    """A whole payload, and the paravisor's report; the pieces of a quote are `tpm_files.Part`."""

    EVIDENCE = "Azure evidence"
    REPORT = "HCL report"


def _recognise(data: bytes) -> tuple[Item, ...] | None:
    if not data.startswith(hcl.MAGIC):
        return None
    hcl.parse(data)
    return (Item(AzureRole.REPORT, data),)


def _unpack(record: Record) -> tuple[Item, ...]:
    azure_evidence.certificates(azure_evidence.parse(record.value))
    return (Item(AzureRole.EVIDENCE, record.value),)


def _authenticate(record: Record, context: Context) -> Verified:
    return _verified(azure_evidence.parse(record.value), context, own_payload=True)


def _assemble(pieces: tuple[Item, ...], context: Context) -> Verified:
    whole = tuple(dict.fromkeys(i.data for i in pieces if i.role is AzureRole.EVIDENCE))
    reports = tuple(dict.fromkeys(i.data for i in pieces if i.role is AzureRole.REPORT))
    given = tuple(
        dict.fromkeys((item.role, item.data) for item in pieces if isinstance(item.role, Part))
    )
    if len(whole) + len(reports) > 1 or (whole and given):
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            "evidence of several Azure machines was given",
            hint="verify one piece of evidence at a time",
        )
    sent = tuple(item.data for item in pieces if item.role in _CERTIFICATES)
    context = replace(context, collateral=intel.given(pieces, context.collateral))
    if whole:
        found = azure_evidence.parse(whole[0])
        found = replace(found, certificates=found.certificates + sent)
        return _verified(found, context, own_payload=True)
    quotes = tuple(dict.fromkeys(i.data for i in pieces if i.role is DcapRole.TDX_QUOTE))
    if len(quotes) > 1:
        raise RefusedEvidence(Code.EVIDENCE_AMBIGUOUS, f"{len(quotes)} TD quotes were given")
    message, pcrs = tpm_files.quoted(given)
    found = Evidence(
        report=reports[0],
        message=message,
        signature=tpm_files.signature_of(given),
        ak_public=tpm_files.one_or_none(given, Part.AK_PUBLIC),
        pcrs=pcrs,
        event_log=tpm_files.one_or_none(given, Part.EVENT_LOG),
        td_quote=quotes[0] if quotes else None,
        certificates=sent,
    )
    return _verified(found, context, own_payload=False)


def _verified(found: Evidence, context: Context, *, own_payload: bool) -> Verified:
    report = hcl.parse(found.report)
    if report.hardware is Hardware.TDX:
        return _verified_tdx(found, report, context, own_payload=own_payload)
    return _verified_snp(found, report, context, own_payload=own_payload)


def _verified_snp(
    found: Evidence, report: HclReport, context: Context, *, own_payload: bool
) -> Verified:
    # A whole chain in its order needs no parsing to be found in the cache.
    chain = _whole_chain(found, context.cache) if own_payload else None
    endorsements = chain or _endorsements(report, found, context)
    hardware = snp.authenticate(
        report.hardware_report,
        endorsements,
        anchors=context.anchors,
        now=context.now,
        cache=context.cache,
    )
    if chain is not None:
        context.cache.put(_chain_key(found), chain)
    claims = snp_claims.normalise(
        hardware,
        now=context.now,
        expected_vmpl=azure_vtpm.PARAVISOR_VMPL,
        distrusted=context.distrusted,
    )
    until = revocation.check(
        endorsements,
        hardware.endorsed,
        source=context.collateral,
        now=context.now,
        cache=context.cache,
    )
    if until is not None:
        claims = revocation.checked(claims, until)
    machine = azure_vtpm.authenticate(
        found, report, claims, own_payload=own_payload, scopes=_SNP_SCOPES, cache=context.cache
    )
    return Verified(machine.claims, machine, lambda: _describe(machine, _describe_snp(hardware)))


def _verified_tdx(
    found: Evidence, report: HclReport, context: Context, *, own_payload: bool
) -> Verified:
    azure_evidence.certificates(found)  # of no use here, and read strictly all the same
    if found.td_quote is None:
        raise RefusedEvidence(
            Code.EVIDENCE_MISSING,
            "the TD quote of the paravisor's report is missing, without which it proves nothing",
            hint="have Azure's metadata service make it of the report's TDREPORT",
        )
    hardware = dcap.authenticate(
        found.td_quote,
        context.collateral,
        anchors=context.anchors,
        now=context.now,
        cache=context.cache,
    )
    body = hardware.signed.quote.body
    if not isinstance(body, TdReport):
        raise RefusedEvidence(
            Code.PARTS_MISMATCH,
            "the quote beside the paravisor's report is of an SGX enclave",
            claim="azure",
            expected="a quote of a TD",
            actual="a quote of an SGX enclave",
        )
    azure_vtpm.check_td_report(report, body)
    claims = dcap_claims.normalise(hardware, now=context.now, distrusted=context.distrusted)
    scopes = _TDX_SCOPES_1_0 if body.tee_tcb_svn2 is None else _TDX_SCOPES_1_5
    machine = azure_vtpm.authenticate(
        found, report, claims, own_payload=own_payload, scopes=scopes, cache=context.cache
    )
    return Verified(
        machine.claims, machine, lambda: _describe(machine, dcap_view.describe(hardware))
    )


def _endorsements(report: HclReport, found: Evidence, context: Context) -> Endorsements:
    known = azure_evidence.certificates(found) + context.certificates
    return lookup.select(report.hardware_report, known, context.collateral)


def _whole_chain(found: Evidence, cache: ChainCache) -> Endorsements | None:
    """Return the chain that was sent, when it is one; PEM is read once for a chip that verified."""
    chain = cache.get(_chain_key(found), Endorsements)
    if chain is not None:
        return chain
    sent = azure_evidence.certificates(found)
    return Endorsements(*sent) if len(sent) == _FULL_CHAIN else None


def _chain_key(found: Evidence) -> Key:
    sent = (found.armoured or b"", *found.certificates)
    return (_CHAIN, *(hashlib.sha256(part).digest() for part in sent))


def _describe(machine: VerifiedMachine, hardware: dict[str, Json]) -> dict[str, Json]:
    quote = machine.quote
    view: dict[str, Json] = {
        "hcl": hcl_view.describe(machine.report, machine.said),
        "hardware": hardware,
        "quote": tpm_view.describe_attest(quote.attest),
    }
    if isinstance(quote, VerifiedQuote):
        view["ak"] = tpm_view.describe_public(quote.ak)
    return view


def _describe_snp(verified: VerifiedReport) -> dict[str, Json]:
    endorsed = verified.endorsed
    chain: list[Json] = [*endorsed.chain]
    return {
        "report": snp_view.describe_report(verified.report, endorsed.product),
        "vek": snp_view.describe_vek(endorsed.vek),
        "chain": chain,
    }


KIND: Final = Kind(
    name="azure",
    media_types=frozenset({AZURE_EVIDENCE}),
    evidence=frozenset({AzureRole.EVIDENCE, AzureRole.REPORT}),
    recognise=_recognise,
    unpack=_unpack,
    authenticate=_authenticate,
    assemble=_assemble,
    includes=frozenset({"tpm", "dcap"}),
)
