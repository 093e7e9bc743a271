"""The normalised view of verified evidence: what appraisal policies see, whatever the TEE.

A `Claims` value is made only by the `claims` module of a format, from verified evidence; there is
no way to parse one. sealward/policies/schemas/claims.json describes its JSON form (`to_json`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sealward.verifier.rats.result import Verdict
    from sealward.verifier.rats.runtime_log import RuntimeLog

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"


@unique
class Tee(StrEnum):
    """The kinds of trusted execution environment."""

    SNP = "snp"
    TDX = "tdx"
    SGX = "sgx"
    NITRO = "nitro"
    TPM = "tpm"
    AZURE_SNP = "azure-snp"
    AZURE_TDX = "azure-tdx"
    GOOGLE_VTPM = "google-vtpm"
    CCA = "cca"
    PSA = "psa"
    HYGON_CSV = "hygon-csv"
    NVIDIA_GPU = "nvidia-gpu"
    NVIDIA_SWITCH = "nvidia-switch"


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
        not_before: latest start of any endorsement, aware UTC.
        not_after: earliest end of any endorsement (certificate, list, signed statement), aware UTC.
        revocation: "checked" when a list in date was asked for every certificate that has one, else
            "absent".
        limits: what ends when, (name, aware UTC instant), as far as the format tells it apart; the
            earliest is `not_after`.
    """

    not_before: datetime
    not_after: datetime
    revocation: str = "absent"
    limits: tuple[tuple[str, datetime], ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; `limits` only where the format tells them apart."""
        limits: dict[str, Json] = (
            {"limits": {name: _instant(end) for name, end in self.limits}} if self.limits else {}
        )
        return limits | {
            "not_before": _instant(self.not_before),
            "not_after": _instant(self.not_after),
            "revocation": self.revocation,
        }


@unique
class KeyResidency(StrEnum):
    """What shows that an attestation key is in a TPM, and in which."""

    ACTIVATED = "activated"  # a credential made for it was opened by the TPM with this EK
    CERTIFIED = "certified"  # the provider of a virtual TPM has issued a certificate for it
    MEASURED = "measured"  # code that the hardware measured at launch names it, and is its TPM
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class BootFact:
    """One thing an event log says of the boot (formats/event_log/facts.py).

    Attributes:
        name: "secure_boot", "secure_boot_variable", "kernel", "kernel_command_line",
            "boot_application" or "runtime_event".
        value: in readable form; text that an attacker may have chosen, kept as it is.
        register: what its digest was extended into: a PCR, or for a confidential guest without TPM
            a measurement register as its log counts them (1 is RTMR0).
        standing: "authenticated" where only firmware can have extended a digest that covers the
            value, "extended" where somebody has, else "described".
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
        ak_name: Name of the attestation key, lower-case hex; None when its public area did not come
            along, where something else than the Name vouches for the key.
        qualified_signer: its qualified Name, as the quote has it.
        residency: whether the key is known to be in the TPM of `ek`.
        ek: the endorsement key, when a certificate for it came along and holds.
        firmware_version: 64 bits in lower-case hex; each vendor's own.
        clock: milliseconds powered; decimal text in JSON.
        reset_count, restart_count: boots and resumes since the TPM was cleared.
        safe: the clock cannot have been rolled back.
    """

    ak_name: str | None
    qualified_signer: str
    residency: KeyResidency
    ek: EndorsementKey | None
    firmware_version: str
    clock: int
    reset_count: int
    restart_count: int
    safe: bool

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
        }


class Section(Protocol):
    """Claims that only one format makes; in JSON they stand under the section's name."""

    @property
    def name(self) -> str:
        """The claim that holds them, for example "intel"."""

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""


class Scopes:
    """Claim path -> scope for one kind of evidence, grouped once.

    It names every claim of `Claims.to_json`, but for what is about the claims (verdicts,
    provenance), the bytes (digests) or other attesters (submods).
    """

    __slots__ = ("groups", "held")

    def __init__(self, held: Mapping[str, Scope]) -> None:
        self.held: Final = held
        # Policies are given each instant once for a group, not once for a claim.
        self.groups: Final = tuple(
            (scope, tuple(sorted(path for path, one in held.items() if one.value == scope)))
            for scope in sorted({one.value for one in held.values()})
        )


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

        scopes: since when each claim can be known to hold; a table of the format.
        tcb_status: what the vendor's signed statements say of the TCB ("UpToDate", "OutOfDate"
            ...), or None where the vendor makes none.
        advisories: the vendor's advisories that apply to this TCB.
        boot: what a firmware event log says, held against the registers that evidence proved.
        sections: what only this format says.
        submods: claims of other attesters in the same evidence (GPUs), by label.

    A claim that a kind of evidence does not have is None, or an empty tuple, and null in JSON: TPM
    quotes have no host_data, key digests, image ids, guest_svn, launch_policy, vmpl, platform, smt
    or tcb. In Rego null compares lower than any number: test with `is_number` before `<=`.
    """

    tee: Tee
    format_version: int
    product: str
    instance_value: str
    platform_id: str | None
    provider: str | None = None
    report_data: str
    measurements: tuple[Measurement, ...]
    host_data: str | None = None
    id_key_digest: str | None = None
    author_key_digest: str | None = None
    family_id: str | None = None
    image_id: str | None = None
    guest_svn: int | None = None
    launch_policy: tuple[tuple[str, bool], ...] = ()
    vmpl: int | None = None
    platform: tuple[tuple[str, bool], ...] = ()
    debug: bool
    migratable: bool
    smt: bool | None = None
    tcb: tuple[SecurityVersions, ...] = ()
    mitigations: tuple[tuple[str, int], ...] = ()
    memory_encrypted: bool
    provider_in_tcb: bool
    clock: Clock
    collateral: Collateral
    development: bool
    evidence_sha256: str
    signed_sha256: str
    as_of: datetime
    verdicts: tuple[Verdict, ...]
    scopes: Scopes = field(repr=False, compare=False)
    platform_masked: bool = False  # a format without such a field has nothing to mask
    tpm: TpmState | None = None
    ima: RuntimeLog | None = None
    tcb_status: str | None = None
    advisories: tuple[str, ...] = ()
    boot: BootLog | None = None
    sections: tuple[Section, ...] = ()
    submods: tuple[tuple[str, Claims], ...] = ()

    def provenance(self) -> dict[str, Provenance]:
        """Return claim path -> scope and instant, for every claim of `to_json`."""
        return {path: Provenance(scope, self.as_of) for path, scope in self.scopes.held.items()}

    def to_json(self) -> dict[str, Json]:
        """Return the view policies get: plain JSON types, digests in lower-case hex, no floats."""
        as_of = _instant(self.as_of)
        special: dict[str, Json] = {} if self.tpm is None else {"tpm": self.tpm.to_json()}
        special |= {} if self.ima is None else {"ima": self.ima.to_json()}
        special |= {} if self.boot is None else {"boot": self.boot.to_json()}
        special |= {section.name: section.to_json() for section in self.sections}
        if self.tcb_status is not None:
            special |= {"tcb_status": self.tcb_status, "advisories": [*self.advisories]}
        if self.submods:
            special["submods"] = {label: claims.to_json() for label, claims in self.submods}
        provenance: list[Json] = [
            {"scope": scope, "as_of": as_of, "claims": [*paths]}
            for scope, paths in self.scopes.groups
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
