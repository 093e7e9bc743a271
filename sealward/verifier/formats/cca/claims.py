"""Turns a verified token into normalised claims, with the verifier's verdicts on them.

What two of them mean for a realm (README.md says why):

  - memory_encrypted is True because the architecture demands it of what a platform calls secured;
    the token itself says nothing of it;
  - provider_in_tcb is False: the hypervisor is outside. Monitor and RMM are inside, whoever built
    them: their digests stand in `cca.components`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.cca.token import LEGACY_PROFILE
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
from sealward.verifier.rats.result import Verdict, VerdictCode
from sealward.verifier.wire import cbor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealward.verifier.formats.cca.token import Platform, Realm, Token
    from sealward.verifier.formats.cca.verify import VerifiedToken
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.distrust import DistrustEntry

_PRODUCT: Final = "Arm CCA"
_LEGACY, _CURRENT = 1, 2  # the first published profile, and that of 2023
_ALGORITHMS: Final = {32: "sha256", 48: "sha384", 64: "sha512"}
# A key that a tenant gave is good until the tenant takes it away: RFC 5280 4.1.2.5 "no end".
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
        "measurements": Scope.RUNTIME,  # the realm extends its REMs as it runs
        "debug": Scope.BOOT,
        "migratable": Scope.LAUNCH,
        "memory_encrypted": Scope.LAUNCH,
        "provider_in_tcb": Scope.LAUNCH,
        "clock": Scope.RUNTIME,
        "collateral": Scope.RUNTIME,
        "development": Scope.RUNTIME,
        "cca": Scope.BOOT,
        "cca.realm": Scope.LAUNCH,
    }
)


@dataclass(frozen=True, slots=True)
class CcaSection:
    """What only a CCA token says: claim "cca"."""

    token: Token
    name: str = "cca"

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form: byte fields in lower-case hex."""
        realm: Json = describe_realm(self.token.realm)
        return describe_platform(self.token.platform) | {"realm": realm}


def describe_platform(platform: Platform) -> dict[str, Json]:
    """Return every claim of the platform."""
    return {
        "profile": platform.profile,
        "implementation_id": platform.implementation_id.hex(),
        "instance_id": platform.instance_id.hex(),
        "challenge": platform.challenge.hex(),
        "lifecycle": platform.lifecycle,
        "lifecycle_state": arm.lifecycle(platform.lifecycle).value,
        "config": platform.config.hex(),
        "hash_algorithm": platform.hash_algorithm,
        "verification_service": platform.verification_service,
        "components": [component.to_json() for component in platform.components],
    }


def describe_realm(realm: Realm) -> dict[str, Json]:
    """Return every claim of the realm but its challenge, which is `report_data`."""
    return {
        "profile": realm.profile,
        "personalization": realm.personalization.hex(),
        "initial_measurement": realm.initial_measurement.hex(),
        "extensible_measurements": [value.hex() for value in realm.extensible_measurements],
        "hash_algorithm": realm.hash_algorithm,
        "public_key": realm.public_key.hex(),
        "key_hash_algorithm": realm.key_hash_algorithm,
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
        vouched: the platform's key is a trust anchor; False when it lay beside the evidence, where
            whoever made the token may have put it.
        distrusted: the distrust list.
    """
    token = verified.token
    platform, realm = token.platform, token.realm
    lifecycle = arm.lifecycle(platform.lifecycle)
    claims = Claims(
        tee=Tee.CCA,
        format_version=_LEGACY if platform.profile == LEGACY_PROFILE else _CURRENT,
        product=_PRODUCT,
        instance_value=_instance_value(token),
        platform_id=f"cca:instance:{platform.instance_id.hex()}" if vouched else None,
        report_data=realm.challenge.hex(),
        measurements=_measurements(realm),
        debug=lifecycle.debug,
        migratable=False,
        memory_encrypted=True,
        provider_in_tcb=False,
        clock=Clock.HOST,
        collateral=Collateral(not_before=now, not_after=_NO_END if vouched else now),
        development=False,
        evidence_sha256=verified.evidence_sha256,
        signed_sha256=verified.signed_sha256,
        as_of=now,
        verdicts=_verdicts(lifecycle, vouched=vouched),
        scopes=SCOPES,
        sections=(CcaSection(token),),
    )
    return distrust.apply(claims, distrusted)


def _instance_value(token: Token) -> str:
    """Return what tells a realm apart: its platform's boot, and what it was made from.

    No claim names a realm. The realm's key is new at every start of the platform, and two realms
    with one personalisation value and one image are the same to everybody but their host.
    """
    platform, realm = token.platform, token.realm
    constants = [
        platform.instance_id,
        realm.public_key,
        realm.personalization,
        realm.initial_measurement,
    ]
    return hashlib.sha256(cbor.encode(constants)).hexdigest()


def _measurements(realm: Realm) -> tuple[Measurement, ...]:
    """Return the RIM, and the REMs that something was measured into.

    The algorithm is told by the size: published tokens hold 64 bytes under the name "sha-256".
    """
    named = [("rim", realm.initial_measurement)]
    named += [
        (f"rem{index}", value)
        for index, value in enumerate(realm.extensible_measurements)
        if any(value)
    ]
    return tuple(Measurement(name, _ALGORITHMS[len(value)], value.hex()) for name, value in named)


def _verdicts(lifecycle: arm.Lifecycle, *, vouched: bool) -> tuple[Verdict, ...]:
    """Return what is held against a genuine token (security-requirements F20b)."""
    verdicts: list[Verdict] = []
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
