"""The normalised view of verified evidence: what appraisal policies see, whatever the TEE.

A `Claims` value is made only by the `claims` module of a format, from verified evidence; there is
no way to parse one. sealward/policies/schemas/claims.json describes its JSON form (`to_json`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.rats.result import Verdict

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"


@unique
class Tee(StrEnum):
    """The kinds of trusted execution environment."""

    SNP = "snp"


@unique
class Scope(StrEnum):
    """Since when a claim can be known to hold (security-requirements F4b).

    LAUNCH claims are constants of the guest's life: a renewal proves them again word for word and
    says nothing about what happened since. RUNTIME claims are of the moment of the evidence.
    """

    LAUNCH = "launch"
    BOOT = "boot"
    RUNTIME = "runtime"


@unique
class Clock(StrEnum):
    """Who controls the clock the attester counts leases on."""

    PROTECTED = "protected"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where in the guest's life a claim comes from, and the instant at which it was attested."""

    scope: Scope
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Measurement:
    """One digest of what was launched or run. `digest` is lower-case hex."""

    name: str
    algorithm: str
    digest: str


@dataclass(frozen=True, slots=True)
class SecurityVersions:
    """The named security version numbers of one point in time, in the format's own order."""

    name: str
    components: tuple[tuple[str, int], ...]

    def to_json(self) -> dict[str, Json]:
        """Return component name -> number."""
        return dict(self.components)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    """How long the endorsements hold, and whether anybody looked for revocations.

    Attributes:
        not_before: latest start of any certificate of the chain, aware UTC.
        not_after: earliest end of any certificate of the chain, aware UTC.
        revocation: "absent" until revocation lists are endorsements too.
    """

    not_before: datetime
    not_after: datetime
    revocation: str = "absent"

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "not_before": _instant(self.not_before),
            "not_after": _instant(self.not_after),
            "revocation": self.revocation,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What verified evidence says, in words that do not depend on its format.

    Attributes:
        tee: the kind of evidence.
        format_version: the evidence format's own version.
        product: the hardware product line, as the vendor spells it.
        instance_value: what the format gives to tell one instance from another (SNP REPORT_ID).
        platform_id: the hardware under the instance, "snp:chip:<hex>", or None when it is not
            proven (masked, or a provider's key signed). Many instances share one.
        provider: the provider whose key signed (SNP cspID), or None.
        report_data: what the guest bound into the evidence, lower-case hex.
        measurements: digests of what was launched.
        host_data, id_key_digest, author_key_digest, family_id, image_id: what the owner and the
            host chose when the guest was launched, lower-case hex; all zero when nobody chose.
        guest_svn: security version of the guest image, by its owner.
        launch_policy: what the guest was launched to allow, by name.
        vmpl: privilege level the report speaks for; FFFFFFFF when the host asked for it.
        platform: state of the platform, by name.
        debug: the host may read and write the guest.
        migratable: the guest may be moved to a platform that this evidence does not describe.
        smt: sibling threads are enabled on the platform.
        tcb: security version numbers: reported (what the key proves), committed, current, launch.
        mitigations: vectors of vulnerability mitigations, (name, 64 bits); empty when the format
            version has none. Decimal text in JSON, whose readers keep only 53 bits.
        memory_encrypted: guest memory is encrypted by the TEE.
        provider_in_tcb: provider code may run with more rights than the attester. For SNP False
            only at VMPL 0: a report for a lower level cannot exclude a paravisor.
        clock: HOST unless the evidence proves a protected clock. A plain SNP report cannot prove
            Secure TSC; a reference value that names such a guest image can.
        collateral: the life of the endorsements.
        development: the chain ends in a development root.
        evidence_sha256: digest of the evidence as given, lower-case hex.
        signed_sha256: digest of its signed region; two evidences may share it (ECDSA is malleable),
            so replay protection rests on nonces and never on these.
        as_of: the instant the evidence was appraised for.
        verdicts: what the verifier holds against it.
    """

    tee: Tee
    format_version: int
    product: str
    instance_value: str
    platform_id: str | None
    provider: str | None
    report_data: str
    measurements: tuple[Measurement, ...]
    host_data: str
    id_key_digest: str
    author_key_digest: str
    family_id: str
    image_id: str
    guest_svn: int
    launch_policy: tuple[tuple[str, bool], ...]
    vmpl: int
    platform: tuple[tuple[str, bool], ...]
    debug: bool
    migratable: bool
    smt: bool
    tcb: tuple[SecurityVersions, ...]
    mitigations: tuple[tuple[str, int], ...]
    memory_encrypted: bool
    provider_in_tcb: bool
    clock: Clock
    collateral: Collateral
    development: bool
    evidence_sha256: str
    signed_sha256: str
    as_of: datetime
    verdicts: tuple[Verdict, ...]

    def provenance(self) -> dict[str, Provenance]:
        """Return claim path -> scope and instant, for every claim of `to_json`."""
        return {path: Provenance(scope, self.as_of) for path, scope in _SCOPES.items()}

    def to_json(self) -> dict[str, Json]:
        """Return the view policies get: plain JSON types, digests in lower-case hex, no floats."""
        as_of = _instant(self.as_of)
        return {
            "tee": self.tee.value,
            "format_version": self.format_version,
            "product": self.product,
            "instance_value": self.instance_value,
            "platform_id": self.platform_id,
            "provider": self.provider,
            "report_data": self.report_data,
            "measurements": [
                {"name": item.name, "algorithm": item.algorithm, "digest": item.digest}
                for item in self.measurements
            ],
            "host_data": self.host_data,
            "id_key_digest": self.id_key_digest,
            "author_key_digest": self.author_key_digest,
            "family_id": self.family_id,
            "image_id": self.image_id,
            "guest_svn": self.guest_svn,
            "launch_policy": dict(self.launch_policy),
            "vmpl": self.vmpl,
            "platform": dict(self.platform),
            "debug": self.debug,
            "migratable": self.migratable,
            "smt": self.smt,
            "tcb": {item.name: item.to_json() for item in self.tcb},
            "mitigations": {name: str(value) for name, value in self.mitigations},
            "memory_encrypted": self.memory_encrypted,
            "provider_in_tcb": self.provider_in_tcb,
            "clock": self.clock.value,
            "collateral": self.collateral.to_json(),
            "development": self.development,
            "evidence_sha256": self.evidence_sha256,
            "signed_sha256": self.signed_sha256,
            "verdicts": [_verdict(item) for item in self.verdicts],
            "provenance": {
                path: {"scope": scope.value, "as_of": as_of} for path, scope in _SCOPES.items()
            },
        }


# Every claim of `to_json`, but for what is about the claims (verdicts, provenance) or the bytes.
_SCOPES: Final = {
    "tee": Scope.LAUNCH,
    "format_version": Scope.RUNTIME,
    "product": Scope.LAUNCH,
    "instance_value": Scope.LAUNCH,
    "platform_id": Scope.LAUNCH,
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


def _instant(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def _verdict(value: Verdict) -> Json:
    return {
        "code": value.code.value,
        "claim": value.claim,
        "expected": value.expected,
        "actual": value.actual,
        "tier": int(value.tier),
    }
