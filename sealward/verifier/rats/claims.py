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
    from sealward.verifier.rats.runtime_log import RuntimeLog

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"


@unique
class Tee(StrEnum):
    """The kinds of trusted execution environment."""

    SNP = "snp"
    TPM = "tpm"


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


@unique
class KeyResidency(StrEnum):
    """What shows that an attestation key is in a TPM, and in which."""

    ACTIVATED = "activated"  # a credential made for it was opened by the TPM with this EK
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class BootFact:
    """One thing an event log says of the boot (formats/event_log/facts.py).

    Attributes:
        name: "secure_boot", "secure_boot_variable", "kernel_command_line" or "boot_application".
        value: in readable form.
        register: the PCR its digest was extended into.
        standing: "authenticated" where a confirmed digest covers the value, else "described".
    """

    name: str
    value: str
    register: int
    standing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BootLog:
    """An event log beside the registers that evidence proved.

    Attributes:
        bank: the bank in which facts were looked at.
        confirmed: registers whose proven values the log replays to, in every bank both have.
        contradicted: registers that the log extends to another value.
        repeated_separators: registers in which firmware ended its measurements twice.
        facts: of confirmed registers only, in the order of the log.
    """

    bank: str
    confirmed: tuple[int, ...]
    contradicted: tuple[int, ...]
    repeated_separators: tuple[int, ...]
    facts: tuple[BootFact, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "bank": self.bank,
            "confirmed": list(self.confirmed),
            "contradicted": list(self.contradicted),
            "repeated_separators": list(self.repeated_separators),
            "facts": [
                {
                    "name": fact.name,
                    "value": fact.value,
                    "register": fact.register,
                    "standing": fact.standing,
                }
                for fact in self.facts
            ],
        }


@dataclass(frozen=True, slots=True)
class EndorsementKey:
    """The TPM, as its vendor's certificate names it.

    Attributes:
        sha256: of the key's DER SubjectPublicKeyInfo, lower-case hex.
        manufacturer, model, version: as the vendor writes them.
        issuers_sha256: fingerprints of the certificates above it, lower-case hex; the last is the
            tenant's root.
    """

    sha256: str
    manufacturer: str
    model: str
    version: str
    issuers_sha256: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "issuers_sha256": [*self.issuers_sha256],
            "sha256": self.sha256,
            "manufacturer": self.manufacturer,
            "model": self.model,
            "version": self.version,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmState:
    """What only a TPM says.

    Attributes:
        ak_name: Name of the attestation key, lower-case hex.
        qualified_signer: its qualified Name, as the quote has it.
        residency: whether the key is known to be in the TPM of `ek`.
        ek: the endorsement key, when a certificate for it came along and holds.
        firmware_version: 64 bits in lower-case hex; each vendor's own.
        clock: milliseconds powered; decimal text in JSON.
        reset_count, restart_count: boots and resumes since the TPM was cleared.
        safe: the clock cannot have been rolled back.
        event_log: what the log says, or None when none came along.
    """

    ak_name: str
    qualified_signer: str
    residency: KeyResidency
    ek: EndorsementKey | None
    firmware_version: str
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    event_log: BootLog | None

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "ak_name": self.ak_name,
            "qualified_signer": self.qualified_signer,
            "residency": self.residency.value,
            "ek": None if self.ek is None else self.ek.to_json(),
            "firmware_version": self.firmware_version,
            "clock": str(self.clock),
            "reset_count": self.reset_count,
            "restart_count": self.restart_count,
            "safe": self.safe,
            "event_log": None if self.event_log is None else self.event_log.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What verified evidence says, in words that do not depend on its format.

    Attributes:
        tee: the kind of evidence.
        format_version: the evidence format's own version.
        product: the hardware product line, as the vendor spells it.
        instance_value: what the format gives to tell one instance from another (SNP REPORT_ID).
        platform_id: the hardware under the instance, "snp:chip:<hex>" as the key that signed
            certifies it, or None when it is not proven (a provider's key signed). Many instances
            share one.
        platform_masked: the host keeps the identity of its hardware out of the evidence itself (SNP
            CHIP_ID is zero). Under a chip's own key `platform_id` names the hardware all the same.
        provider: the provider whose key signed (SNP cspID), or None.
        report_data: what the guest bound into the evidence, lower-case hex.
        measurements: digests of what was launched.
        host_data, id_key_digest, author_key_digest, family_id, image_id: what the owner and the
            host chose when the guest was launched, lower-case hex; all zero when nobody chose.
        guest_svn: security version of the guest image, by its owner.
        launch_policy: what the guest was launched to allow, by name.
        vmpl: privilege level the report speaks for; FFFFFFFF when the host asked for it.
        platform: state of the platform, by name.
        debug: the host may read and write the guest, by a mode of the TEE; a TPM has none.
        migratable: the guest may be moved to a platform that this evidence does not describe.
        smt: sibling threads are enabled on the platform.
        tcb: security version numbers: reported (what the key proves), committed, current, launch.
        mitigations: vectors of vulnerability mitigations, (name, 64 bits); empty when the format
            version has none. Decimal text in JSON, whose readers keep only 53 bits.
        memory_encrypted: guest memory is encrypted by the TEE.
        provider_in_tcb: provider code may run with more rights than the attester. For SNP False
            only at VMPL 0: a report for a lower level cannot exclude a paravisor. Always True for
            a TPM: a quote cannot exclude a hypervisor, nor who runs a virtual TPM.
        clock: HOST unless the evidence proves a protected clock. A plain SNP report cannot prove
            Secure TSC; a reference value that names such a guest image can.
        collateral: the life of the endorsements.
        development: the chain ends in a development root.
        evidence_sha256: digest of the evidence as given, lower-case hex.
        signed_sha256: digest of its signed region; two evidences may share it (ECDSA is malleable),
            so replay protection rests on nonces and never on these.
        as_of: the instant the evidence was appraised for.
        verdicts: what the verifier holds against it.
        tpm: what only a TPM says; None for other kinds of evidence, and then not in JSON.
        ima: what the kernel's measurement list says; None when none came along, and then not in
            JSON. In `to_json` nothing of it is matched with reference values: who has them puts
            `RuntimeLog.to_json(known)` in its place.

    A claim that a kind of evidence does not have is None, or an empty tuple, and null in JSON: TPM
    quotes have no host_data, key digests, image ids, guest_svn, launch_policy, vmpl, platform, smt
    or tcb. In Rego null compares lower than any number: test with `is_number` before `<=`.
    """

    tee: Tee
    format_version: int
    product: str
    instance_value: str
    platform_id: str | None
    provider: str | None
    report_data: str
    measurements: tuple[Measurement, ...]
    host_data: str | None
    id_key_digest: str | None
    author_key_digest: str | None
    family_id: str | None
    image_id: str | None
    guest_svn: int | None
    launch_policy: tuple[tuple[str, bool], ...]
    vmpl: int | None
    platform: tuple[tuple[str, bool], ...]
    debug: bool
    migratable: bool
    smt: bool | None
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
    platform_masked: bool = False  # a format without such a field has nothing to mask
    tpm: TpmState | None = None
    ima: RuntimeLog | None = None

    def provenance(self) -> dict[str, Provenance]:
        """Return claim path -> scope and instant, for every claim of `to_json`."""
        return {path: Provenance(scope, self.as_of) for path, scope in _SCOPES[self.tee].items()}

    def to_json(self) -> dict[str, Json]:
        """Return the view policies get: plain JSON types, digests in lower-case hex, no floats."""
        as_of = _instant(self.as_of)
        special: dict[str, Json] = {} if self.tpm is None else {"tpm": self.tpm.to_json()}
        special |= {} if self.ima is None else {"ima": self.ima.to_json()}
        provenance: list[Json] = [
            {"scope": scope, "as_of": as_of, "claims": [*paths]}
            for scope, paths in _GROUPS[self.tee]
        ]
        return special | {
            "tee": self.tee.value,
            "format_version": self.format_version,
            "product": self.product,
            "instance_value": self.instance_value,
            "platform_id": self.platform_id,
            "platform_masked": self.platform_masked,
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
            "launch_policy": dict(self.launch_policy) or None,
            "vmpl": self.vmpl,
            "platform": dict(self.platform) or None,
            "debug": self.debug,
            "migratable": self.migratable,
            "smt": self.smt,
            "tcb": {item.name: item.to_json() for item in self.tcb} or None,
            "mitigations": {name: str(value) for name, value in self.mitigations},
            "memory_encrypted": self.memory_encrypted,
            "provider_in_tcb": self.provider_in_tcb,
            "clock": self.clock.value,
            "collateral": self.collateral.to_json(),
            "development": self.development,
            "evidence_sha256": self.evidence_sha256,
            "signed_sha256": self.signed_sha256,
            "verdicts": [_verdict(item) for item in self.verdicts],
            "provenance": provenance,
        }


# Every claim of `to_json`, but for what is about the claims (verdicts, provenance) or the bytes.
_SNP_SCOPES: Final = {
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

# PCRs hold what was measured since power-on, boot after boot; the rest is of the moment.
_TPM_SCOPES: Final = {
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
    "tpm.event_log": Scope.BOOT,
}
_SCOPES: Final = {Tee.SNP: _SNP_SCOPES, Tee.TPM: _TPM_SCOPES}
# The same by scope: policies are given each instant once for a group, not once for a claim.
_GROUPS: Final = {
    tee: tuple(
        (scope, tuple(sorted(path for path, held in scopes.items() if held.value == scope)))
        for scope in sorted({held.value for held in scopes.values()})
    )
    for tee, scopes in _SCOPES.items()
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
