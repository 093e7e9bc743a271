"""Turns a verified report into normalised claims, with the verifier's verdicts on them.

What three of them mean for a CSV guest (README.md says why):

  - memory_encrypted is True: the processor encrypts the memory of every CSV guest;
  - provider_in_tcb is True unless the policy demands CSV3: before it the host keeps the guest's
    page tables, and without `encrypted_state` its registers too;
  - migratable is True unless the policy forbids to send the guest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

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

    from sealward.verifier.formats.hygon_csv.report import Report
    from sealward.verifier.formats.hygon_csv.verify import VerifiedReport
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.distrust import DistrustEntry

_FORMAT_VERSION: Final = 1  # the report has no number; a later layout is longer and has one
_PRODUCT: Final = "Hygon CSV"
# Hygon's certificates have no dates: RFC 5280 4.1.2.5 "no end".
_NO_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

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
        "debug": Scope.LAUNCH,
        "migratable": Scope.LAUNCH,
        "memory_encrypted": Scope.LAUNCH,
        "provider_in_tcb": Scope.LAUNCH,
        "clock": Scope.RUNTIME,
        "collateral": Scope.RUNTIME,
        "development": Scope.RUNTIME,
        "hygon": Scope.LAUNCH,
        "hygon.mnonce": Scope.RUNTIME,
    }
)


@dataclass(frozen=True, slots=True)
class HygonSection:
    """What only a CSV report says: claim "hygon". Nothing that nobody signs is in it."""

    report: Report
    name: str = "hygon"

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form: byte fields in lower-case hex, the policy "0x..." and by bits."""
        report = self.report
        return {
            "user_pubkey_digest": report.user_pubkey_digest.hex(),
            "vm_id": report.vm_id.hex(),
            "vm_version": report.vm_version.hex(),
            "mnonce": report.mnonce.hex(),
            "policy": f"{report.policy:#x}",
            "policy_flags": dict(report.policy_flags),
        }


def normalise(
    verified: VerifiedReport, *, now: datetime, distrusted: Iterable[DistrustEntry] = ()
) -> Claims:
    """Return the claims of a verified report.

    Args:
        verified: what `verify.authenticate` returned.
        now: the instant it was authenticated at, aware UTC; every claim's `as_of`.
        distrusted: the distrust list.
    """
    report = verified.report
    flags = dict(report.policy_flags)
    claims = Claims(
        tee=Tee.HYGON_CSV,
        format_version=_FORMAT_VERSION,
        product=_PRODUCT,
        instance_value=_instance_value(verified),
        platform_id=f"hygon:chip:{verified.endorsed.chip.hex()}",
        report_data=report.report_data.hex(),
        measurements=(Measurement("launch", "sm3_256", report.measure.hex()),),
        debug=not flags["no_debug"],
        migratable=not flags["no_send"],
        memory_encrypted=True,
        provider_in_tcb=not flags["csv3"],
        clock=Clock.HOST,
        collateral=Collateral(not_before=now, not_after=_NO_END),
        development=False,
        evidence_sha256=verified.evidence_sha256,
        signed_sha256=verified.signed_sha256,
        as_of=now,
        verdicts=_verdicts(flags),
        scopes=SCOPES,
        sections=(HygonSection(report),),
    )
    return distrust.apply(claims, distrusted)


def _instance_value(verified: VerifiedReport) -> str:
    """Return what tells a guest apart: its processor, and what it was launched from.

    No field names an instance but vm_id, which its owner chooses and often leaves zero. Two guests
    of one owner from one image on one processor are the same to everybody but their host.
    """
    report = verified.report
    constants = (
        verified.endorsed.chip,
        report.user_pubkey_digest,
        report.vm_id,
        report.vm_version,
        report.measure,
        report.policy.to_bytes(4, "little"),
    )
    return hashlib.sha256(b"".join(constants)).hexdigest()


def _verdicts(flags: dict[str, bool]) -> tuple[Verdict, ...]:
    """Return what is held against a genuine report (security-requirements F20b)."""
    verdicts: list[Verdict] = []
    if not flags["no_debug"]:
        verdicts.append(_verdict(VerdictCode.DEBUG_ENABLED, "debug"))
    if not flags["no_send"]:
        verdicts.append(_verdict(VerdictCode.MIGRATION_ENABLED, "migratable"))
    return tuple(verdicts)


def _verdict(code: VerdictCode, claim: str) -> Verdict:
    return Verdict(code=code, claim=claim, expected="false", actual="true")
