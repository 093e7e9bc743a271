"""Turns a verified token into normalised claims, with the verifier's verdicts on them.

A PSA root of trust proves how a device booted and says nothing about who can read its memory: the
verdict `root_of_trust_only` keeps `hardware` from ever being affirmed, as `tpm_only` does for TPMs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.psa.token import PROFILE_1
from sealward.verifier.rats import arm, distrust
from sealward.verifier.rats.claims import (
    Claims,
    Clock,
    Collateral,
    Measurement,
    Scope,
    Scopes,
    Tee,
)
from sealward.verifier.rats.result import Tier, Verdict, VerdictCode
from sealward.verifier.wire import cbor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealward.verifier.formats.psa.token import Token
    from sealward.verifier.formats.psa.verify import VerifiedToken
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.distrust import DistrustEntry

_PRODUCT: Final = "Arm PSA"
_ALGORITHMS: Final = {32: "sha256", 48: "sha384", 64: "sha512"}
# A key that a tenant gave is good until the tenant takes it away: RFC 5280 4.1.2.5 "no end".
_NO_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

SCOPES: Final = Scopes(
    {
        "tee": Scope.LAUNCH,
        "format_version": Scope.RUNTIME,
        "product": Scope.LAUNCH,
        "instance_value": Scope.BOOT,
        "platform_id": Scope.LAUNCH,
        "platform_masked": Scope.RUNTIME,
        "provider": Scope.RUNTIME,
        "report_data": Scope.RUNTIME,
        "measurements": Scope.BOOT,
        "debug": Scope.BOOT,
        "migratable": Scope.RUNTIME,
        "memory_encrypted": Scope.RUNTIME,
        "provider_in_tcb": Scope.RUNTIME,
        "clock": Scope.RUNTIME,
        "collateral": Scope.RUNTIME,
        "development": Scope.RUNTIME,
        "psa": Scope.BOOT,
        "psa.client_id": Scope.RUNTIME,
    }
)


@dataclass(frozen=True, slots=True)
class PsaSection:
    """What only a PSA token says: claim "psa"."""

    token: Token
    name: str = "psa"

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form: byte fields in lower-case hex."""
        token = self.token
        return {
            "profile": token.profile,
            "implementation_id": token.implementation_id.hex(),
            "instance_id": token.instance_id.hex(),
            "client_id": token.client_id,
            "lifecycle": token.lifecycle,
            "lifecycle_state": arm.lifecycle(token.lifecycle).value,
            "boot_seed": None if token.boot_seed is None else token.boot_seed.hex(),
            "certification": token.certification,
            "verification_service": token.verification_service,
            "components": [component.to_json() for component in token.components],
        }


def normalise(
    verified: VerifiedToken,
    *,
    now: datetime,
    vouched: bool = True,
    distrusted: Iterable[DistrustEntry] = (),
) -> Claims:
    """Return the claims of a verified token.

    Args:
        verified: what `verify.authenticate` returned.
        now: the instant it was authenticated at, aware UTC; every claim's `as_of`.
        vouched: the device's key is a trust anchor; False when it lay beside the evidence, where
            whoever made the token may have put it.
        distrusted: the distrust list.
    """
    token = verified.token
    lifecycle = arm.lifecycle(token.lifecycle)
    claims = Claims(
        tee=Tee.PSA,
        format_version=1 if token.profile == PROFILE_1 else 2,
        product=_PRODUCT,
        instance_value=_instance_value(token),
        platform_id=f"psa:instance:{token.instance_id.hex()}" if vouched else None,
        report_data=token.nonce.hex(),
        measurements=_measurements(token),
        debug=lifecycle.debug,
        migratable=False,
        memory_encrypted=False,
        provider_in_tcb=True,
        clock=Clock.HOST,
        collateral=Collateral(not_before=now, not_after=_NO_END if vouched else now),
        development=False,
        evidence_sha256=verified.evidence_sha256,
        signed_sha256=verified.signed_sha256,
        as_of=now,
        verdicts=_verdicts(lifecycle, vouched=vouched),
        scopes=SCOPES,
        sections=(PsaSection(token),),
    )
    return distrust.apply(claims, distrusted)


def _instance_value(token: Token) -> str:
    """Return what tells one boot of a device from another, as far as the token has a boot seed."""
    return hashlib.sha256(cbor.encode([token.instance_id, token.boot_seed])).hexdigest()


def _measurements(token: Token) -> tuple[Measurement, ...]:
    """Return the components' digests under their types, which makers repeat or leave out."""
    types = [component.type for component in token.components]
    return tuple(
        Measurement(
            component.type
            if component.type is not None and types.count(component.type) == 1
            else f"component{index}",
            _ALGORITHMS[len(component.measurement)],
            component.measurement.hex(),
        )
        for index, component in enumerate(token.components)
    )


def _verdicts(lifecycle: arm.Lifecycle, *, vouched: bool) -> tuple[Verdict, ...]:
    """Return what is held against a genuine token (security-requirements F20b)."""
    verdicts = [
        Verdict(
            code=VerdictCode.ROOT_OF_TRUST_ONLY,
            claim="tee",
            expected="a TEE that encrypts the memory of the guest",
            actual=Tee.PSA.value,
            tier=Tier.WARNING,
        )
    ]
    if lifecycle.debug:
        verdicts.append(
            Verdict(
                code=VerdictCode.DEBUG_ENABLED,
                claim="debug",
                expected=arm.Lifecycle.SECURED.value,
                actual=lifecycle.value,
            )
        )
    if not vouched:
        verdicts.append(
            Verdict(
                code=VerdictCode.KEY_RESIDENCY_UNPROVEN,
                claim="platform_id",
                expected="named by a trust anchor of the tenant",
                actual="named only by a key that lay beside the token",
            )
        )
    return tuple(verdicts)
