"""Turns a verified quote into normalised claims, with the verifier's verdicts on it.

A TPM proves what was measured into it, and nothing about who can read the machine's memory: the
verdict `tpm_only` keeps `hardware` from ever being affirmed (security-requirements F8b).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.tpm.quote import VerifiedQuote
from sealward.verifier.rats import distrust
from sealward.verifier.rats.claims import (
    Claims,
    Clock,
    Collateral,
    EndorsementKey,
    KeyResidency,
    Measurement,
    Scope,
    Scopes,
    Tee,
    TpmState,
)
from sealward.verifier.rats.result import Tier, Verdict, VerdictCode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sealward.verifier.formats.tpm.endorsement import EndorsedEk
    from sealward.verifier.formats.tpm.quote import ProvenQuote
    from sealward.verifier.rats.claims import BootLog
    from sealward.verifier.rats.distrust import DistrustEntry

_SPECIFICATION: Final = 2  # TPM 2.0
_PRODUCT: Final = "TPM 2.0"

# PCRs hold what was measured since power-on, boot after boot; the rest is of the moment.
SCOPES: Final = Scopes(
    {
        "tee": Scope.LAUNCH,
        "format_version": Scope.RUNTIME,
        "product": Scope.LAUNCH,
        "instance_value": Scope.RUNTIME,
        "platform_id": Scope.LAUNCH,
        "platform_masked": Scope.RUNTIME,
        "provider": Scope.RUNTIME,
        "report_data": Scope.RUNTIME,
        "measurements": Scope.BOOT,
        "debug": Scope.RUNTIME,
        "migratable": Scope.RUNTIME,
        "memory_encrypted": Scope.RUNTIME,
        "provider_in_tcb": Scope.RUNTIME,
        "clock": Scope.RUNTIME,
        "collateral": Scope.RUNTIME,
        "development": Scope.RUNTIME,
        "tpm": Scope.RUNTIME,
        "boot": Scope.BOOT,
    }
)


def normalise(
    verified: VerifiedQuote,
    *,
    now: datetime,
    tee: Tee = Tee.TPM,
    ek: EndorsedEk | None = None,
    residency: KeyResidency = KeyResidency.UNPROVEN,
    boot: BootLog | None = None,
    distrusted: Iterable[DistrustEntry] = (),
) -> Claims:
    """Return the claims of a verified quote.

    Args:
        verified: what `quote.authenticate` returned.
        now: the instant it was authenticated at, aware UTC; every claim's `as_of`.
        tee: the kind of TPM.
        ek: the endorsement key of a certificate that came along and holds.
        residency: ACTIVATED when a credential for this AK was opened by the TPM of `ek`.
        boot: what the log says, compared with the values quoted.
        distrusted: the distrust list.
    """
    claims = Claims(
        tee=tee,
        format_version=_SPECIFICATION,
        product=_PRODUCT if ek is None else f"{_PRODUCT} {ek.manufacturer} {ek.model}",
        instance_value=verified.ak_name.hex(),
        platform_id=_platform_id(ek, residency),
        report_data=verified.nonce.hex(),
        measurements=measurements(verified),
        debug=False,
        migratable=False,
        memory_encrypted=False,
        provider_in_tcb=True,
        clock=Clock.HOST,  # the TPM's clock counts for the TPM; the agent counts on the host's
        collateral=_collateral(ek, now),
        development=ek is not None and ek.development,
        evidence_sha256=verified.evidence_sha256,
        signed_sha256=verified.signed_sha256,
        as_of=now,
        verdicts=_verdicts(tee, ek, residency),
        scopes=SCOPES,
        tpm=state(verified, ek, residency),
        boot=boot,
    )
    return distrust.apply(claims, distrusted)


def measurements(verified: ProvenQuote) -> tuple[Measurement, ...]:
    """Return the quoted PCRs."""
    return tuple(
        Measurement(f"pcr{index}", label, value.hex())
        for bank in verified.pcrs
        for label in (bank.bank.label,)
        for index, value in bank.values
    )


def state(verified: ProvenQuote, ek: EndorsedEk | None, residency: KeyResidency) -> TpmState:
    """Return what only a TPM says."""
    attest = verified.attest
    return TpmState(
        ak_name=verified.ak_name.hex() if isinstance(verified, VerifiedQuote) else None,
        qualified_signer=attest.qualified_signer.hex(),
        residency=residency,
        ek=None if ek is None else _endorsement(ek),
        firmware_version=f"{attest.firmware_version:016x}",
        clock=attest.clock,
        reset_count=attest.reset_count,
        restart_count=attest.restart_count,
        safe=attest.safe,
    )


def _platform_id(ek: EndorsedEk | None, residency: KeyResidency) -> str | None:
    """Return the TPM; None where nothing ties the key that signed to its certificate."""
    if ek is None or residency is not KeyResidency.ACTIVATED:
        return None
    return f"tpm:ek:{ek.sha256}"


def _endorsement(ek: EndorsedEk) -> EndorsementKey:
    return EndorsementKey(ek.sha256, ek.manufacturer, ek.model, ek.version, ek.issuers)


def _collateral(ek: EndorsedEk | None, now: datetime) -> Collateral:
    """Return the life of the chain; what nothing endorses holds at this instant and no longer."""
    if ek is None:
        return Collateral(not_before=now, not_after=now)
    return Collateral(not_before=ek.window.not_before, not_after=ek.window.not_after)


def _verdicts(tee: Tee, ek: EndorsedEk | None, residency: KeyResidency) -> tuple[Verdict, ...]:
    verdicts = [
        Verdict(
            code=VerdictCode.TPM_ONLY,
            claim="tee",
            expected="a TEE that encrypts the memory of the guest",
            actual=tee.value,
            tier=Tier.WARNING,
        )
    ]
    if residency is KeyResidency.UNPROVEN:
        verdicts.append(
            Verdict(
                code=VerdictCode.KEY_RESIDENCY_UNPROVEN,
                claim="tpm.residency",
                expected=KeyResidency.ACTIVATED.value,
                actual=residency.value,
            )
        )
    if ek is not None and ek.development:
        verdicts.append(
            Verdict(
                code=VerdictCode.DEVELOPMENT_ROOT,
                claim="development",
                expected="false",
                actual="true",
            )
        )
    return tuple(verdicts)
