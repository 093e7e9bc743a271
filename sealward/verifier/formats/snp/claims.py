"""Turns a verified SNP report into normalised claims, with the verifier's verdicts on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.snp.report import HOST_REQUESTED_VMPL
from sealward.verifier.rats import distrust
from sealward.verifier.rats.claims import (
    Claims,
    Clock,
    Collateral,
    Measurement,
    Scope,
    Scopes,
    Tee,
)
from sealward.verifier.rats.result import Verdict, VerdictCode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sealward.verifier.formats.snp.report import Report
    from sealward.verifier.formats.snp.verify import VerifiedReport
    from sealward.verifier.rats.distrust import DistrustEntry

# Real guests attest at 0 (Azure) and at 1 (AWS); a report the host asked for is at none of these.
ANY_GUEST_VMPL: Final = frozenset({0, 1, 2, 3})

SCOPES: Final = Scopes(
    {
        "tee": Scope.LAUNCH,
        "format_version": Scope.RUNTIME,
        "product": Scope.LAUNCH,
        "instance_value": Scope.LAUNCH,
        "platform_id": Scope.LAUNCH,
        "platform_masked": Scope.RUNTIME,
        "provider": Scope.RUNTIME,
        "report_data": Scope.RUNTIME,
        "measurements": Scope.LAUNCH,
        "host_data": Scope.LAUNCH,
        "id_key_digest": Scope.LAUNCH,
        "author_key_digest": Scope.LAUNCH,
        "family_id": Scope.LAUNCH,
        "image_id": Scope.LAUNCH,
        "guest_svn": Scope.LAUNCH,
        "launch_policy": Scope.LAUNCH,
        "vmpl": Scope.RUNTIME,
        "platform": Scope.RUNTIME,
        "debug": Scope.LAUNCH,
        "migratable": Scope.LAUNCH,
        "smt": Scope.RUNTIME,
        "tcb.reported": Scope.RUNTIME,
        "tcb.committed": Scope.RUNTIME,
        "tcb.current": Scope.RUNTIME,
        "tcb.launch": Scope.LAUNCH,
        "mitigations.launch": Scope.LAUNCH,
        "mitigations.current": Scope.RUNTIME,
        "memory_encrypted": Scope.LAUNCH,
        "provider_in_tcb": Scope.LAUNCH,
        "clock": Scope.RUNTIME,
        "collateral": Scope.RUNTIME,
        "development": Scope.RUNTIME,
    }
)


def normalise(
    verified: VerifiedReport,
    *,
    now: datetime,
    expected_vmpl: frozenset[int] = ANY_GUEST_VMPL,
    distrusted: Iterable[DistrustEntry] = (),
) -> Claims:
    """Return the claims of a verified report.

    Args:
        verified: what `verify.authenticate` returned.
        now: the instant it was authenticated at, aware UTC; every claim's `as_of`.
        expected_vmpl: levels whose reports we take; one the host asked for never is.
        distrusted: the distrust list.
    """
    report, endorsed = verified.report, verified.endorsed
    claims = Claims(
        tee=Tee.SNP,
        format_version=report.version,
        product=endorsed.product.value,
        instance_value=report.report_id.hex(),
        platform_id=_platform_id(verified),
        platform_masked=not any(report.chip_id),
        provider=endorsed.vek.csp_id,
        report_data=report.report_data.hex(),
        measurements=(Measurement("launch", "sha384", report.measurement.hex()),),
        host_data=report.host_data.hex(),
        id_key_digest=report.id_key_digest.hex(),
        author_key_digest=report.author_key_digest.hex(),
        family_id=report.family_id.hex(),
        image_id=report.image_id.hex(),
        guest_svn=report.guest_svn,
        launch_policy=report.policy_flags,
        vmpl=report.vmpl,
        platform=report.platform_flags,
        debug=report.debug,
        migratable=report.migratable,
        smt=report.smt_enabled,
        tcb=verified.tcb,
        mitigations=_mitigations(report),
        memory_encrypted=True,
        provider_in_tcb=report.vmpl != 0,
        clock=Clock.HOST,
        collateral=Collateral(
            not_before=endorsed.window.not_before, not_after=endorsed.window.not_after
        ),
        development=endorsed.development,
        evidence_sha256=verified.evidence_sha256,
        signed_sha256=verified.signed_sha256,
        as_of=now,
        verdicts=_verdicts(verified, expected_vmpl),
        scopes=SCOPES,
    )
    return distrust.apply(claims, distrusted)


def _platform_id(verified: VerifiedReport) -> str | None:
    """Return the chip as the VCEK certifies it; None under a VLEK.

    The key that signed names the chip whether or not the host masks CHIP_ID: read from the report,
    a host could leave a denied platform, or a distrusted one, by setting a flag.
    """
    hwid = verified.endorsed.vek.hwid
    return None if hwid is None else f"snp:chip:{hwid.hex()}"


def _mitigations(report: Report) -> tuple[tuple[str, int], ...]:
    if not report.has_mitigations:
        return ()
    return ("launch", report.launch_mit_vector), ("current", report.current_mit_vector)


def _verdicts(verified: VerifiedReport, expected_vmpl: frozenset[int]) -> tuple[Verdict, ...]:
    """Return what is held against a genuine report (security-requirements F20b)."""
    report = verified.report
    verdicts: list[Verdict] = []
    if report.debug:
        verdicts.append(_verdict(VerdictCode.DEBUG_ENABLED, "debug", "true"))
    host = report.vmpl == HOST_REQUESTED_VMPL
    if host or report.vmpl not in expected_vmpl:
        actual = "requested by the host" if host else str(report.vmpl)
        levels = ", ".join(str(level) for level in sorted(expected_vmpl))
        verdicts.append(_verdict(VerdictCode.VMPL_UNEXPECTED, "vmpl", actual, expected=levels))
    if report.migratable:
        verdicts.append(_verdict(VerdictCode.MIGRATION_ENABLED, "migratable", "true"))
    if verified.endorsed.development:
        verdicts.append(_verdict(VerdictCode.DEVELOPMENT_ROOT, "development", "true"))
    return tuple(verdicts)


def _verdict(code: VerdictCode, claim: str, actual: str, *, expected: str = "false") -> Verdict:
    return Verdict(code=code, claim=claim, expected=expected, actual=actual)
