"""Turns a verified document into normalised claims, with the verifier's verdicts on it.

What three of them mean for an enclave (README.md says why):

  - memory_encrypted is False: the Nitro hypervisor takes the enclave's memory from the parent
    instance, and a document says nothing about encryption;
  - provider_in_tcb is True: that hypervisor is AWS's, and it is also what signs;
  - clock is PROTECTED: the enclave's clock comes from it and not from the parent instance.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
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
    from datetime import datetime

    from sealward.verifier.formats.nitro.document import Document
    from sealward.verifier.formats.nitro.verify import VerifiedDocument
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.rats.distrust import DistrustEntry

_FORMAT_VERSION: Final = 1  # AWS gives the format no number, and has had one
_PRODUCT: Final = "AWS Nitro"
_PROVIDER: Final = "aws"
_ALGORITHMS: Final = {32: "sha256", 48: "sha384", 64: "sha512"}
_INSTANCE: Final = re.compile(r"(i-[0-9a-f]{8,17})-enc[0-9a-f]+")
_ROLE_PCR, _INSTANCE_PCR, _SIGNING_PCR = 3, 4, 8

# PCR 0 to 15 are locked when the enclave starts; it may extend those from 16 on, which a renewal
# cannot tell from the first ones. So measurements are of the launch, and the section of the moment.
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
        "nitro": Scope.RUNTIME,
    }
)


@dataclass(frozen=True, slots=True)
class NitroSection:
    """What only a Nitro document says: claim "nitro"."""

    document: Document
    name: str = "nitro"

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; a PCR that is zero is null where it has a name."""
        document = self.document
        return {
            "module_id": document.module_id,
            "timestamp": document.timestamp.isoformat().replace("+00:00", "Z"),
            "pcrs": {str(index): value.hex() for index, value in document.pcrs},
            "role": _hex(document.pcr(_ROLE_PCR)),
            "instance": _hex(document.pcr(_INSTANCE_PCR)),
            "signing": _hex(document.pcr(_SIGNING_PCR)),
            "nonce": _hex(document.nonce),
            "public_key": _hex(document.public_key),
        }


def normalise(
    verified: VerifiedDocument, *, now: datetime, distrusted: Iterable[DistrustEntry] = ()
) -> Claims:
    """Return the claims of a verified document.

    Args:
        verified: what `verify.authenticate` returned.
        now: the instant it was authenticated at, aware UTC; every claim's `as_of`.
        distrusted: the distrust list.
    """
    document, endorsed = verified.document, verified.endorsed
    claims = Claims(
        tee=Tee.NITRO,
        format_version=_FORMAT_VERSION,
        product=_PRODUCT,
        instance_value=hashlib.sha256(document.module_id.encode()).hexdigest(),
        platform_id=_platform_id(document),
        provider=None if endorsed.development else _PROVIDER,
        report_data=(document.user_data or b"").hex(),
        measurements=_measurements(document),
        debug=document.debug,
        migratable=False,
        memory_encrypted=False,
        provider_in_tcb=True,
        clock=Clock.PROTECTED,
        collateral=Collateral(
            not_before=endorsed.window.not_before,
            not_after=endorsed.window.not_after,
            limits=endorsed.limits,
        ),
        development=endorsed.development,
        evidence_sha256=verified.evidence_sha256,
        signed_sha256=verified.signed_sha256,
        as_of=now,
        verdicts=_verdicts(verified),
        scopes=SCOPES,
        sections=(NitroSection(document),),
    )
    return distrust.apply(claims, distrusted)


def _measurements(document: Document) -> tuple[Measurement, ...]:
    """Return the PCRs that something was measured into; zeros are no digest of anything."""
    return tuple(
        Measurement(f"pcr{index}", _ALGORITHMS[len(value)], value.hex())
        for index, value in document.pcrs
        if any(value)
    )


def _platform_id(document: Document) -> str | None:
    """Return the parent instance, which module_id begins with."""
    match = _INSTANCE.fullmatch(document.module_id)
    return None if match is None else f"nitro:instance:{match.group(1)}"


def _verdicts(verified: VerifiedDocument) -> tuple[Verdict, ...]:
    """Return what is held against a genuine document (security-requirements F20b)."""
    verdicts: list[Verdict] = []
    if verified.document.debug:
        verdicts.append(_verdict(VerdictCode.DEBUG_ENABLED, "debug"))
    if verified.endorsed.development:
        verdicts.append(_verdict(VerdictCode.DEVELOPMENT_ROOT, "development"))
    return tuple(verdicts)


def _verdict(code: VerdictCode, claim: str) -> Verdict:
    return Verdict(code=code, claim=claim, expected="false", actual="true")


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
