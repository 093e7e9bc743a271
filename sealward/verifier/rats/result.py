"""AR4SI trust vectors, verifier verdicts, and the posture they come to.

Names, tiers and numbers are those of draft-ietf-rats-ar4si section 2.3. An appraisal policy answers
a vector; the verifier's own verdicts then cap it (security-requirements F20b): debug, an
unexpected VMPL, migration, development roots and distrust cannot be expressed away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


@unique
class Tier(IntEnum):
    """The four tiers with the number that stands for each in an attestation result."""

    NONE = 0
    AFFIRMING = 2
    WARNING = 32
    CONTRAINDICATED = 96

    @classmethod
    def of(cls, value: int) -> Tier:
        """Return the tier of any AR4SI value; the sign says who defined it, not how bad it is.

        Raises:
            ValueError: outside -128..127.
        """
        if not -128 <= value <= 127:  # noqa: PLR2004 - AR4SI values are signed bytes
            raise ValueError(f"{value} is not an AR4SI value")
        if -1 <= value <= 1:
            return cls.NONE
        magnitude = value if value >= 0 else -value - 1  # -32..-2 affirm, as 2..31 do
        if magnitude >= cls.CONTRAINDICATED:
            return cls.CONTRAINDICATED
        return cls.WARNING if magnitude >= cls.WARNING else cls.AFFIRMING


@unique
class Dimension(StrEnum):
    """The eight trustworthiness claims, as they are spelled in an attestation result."""

    INSTANCE_IDENTITY = "instance-identity"
    CONFIGURATION = "configuration"
    EXECUTABLES = "executables"
    FILE_SYSTEM = "file-system"
    HARDWARE = "hardware"
    RUNTIME_OPAQUE = "runtime-opaque"
    STORAGE_OPAQUE = "storage-opaque"
    SOURCED_DATA = "sourced-data"

    @property
    def attribute(self) -> str:
        """The name of the field of TrustVector that holds this claim."""
        return self.value.replace("-", "_")


_ATTRIBUTES: Final = {dimension: dimension.attribute for dimension in Dimension}
_FIELDS: Final = tuple((dimension.value, dimension.attribute) for dimension in Dimension)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustVector:
    """One tier for each of the eight claims; nothing is claimed by default."""

    instance_identity: Tier = Tier.NONE
    configuration: Tier = Tier.NONE
    executables: Tier = Tier.NONE
    file_system: Tier = Tier.NONE
    hardware: Tier = Tier.NONE
    runtime_opaque: Tier = Tier.NONE
    storage_opaque: Tier = Tier.NONE
    sourced_data: Tier = Tier.NONE

    def tier(self, dimension: Dimension) -> Tier:
        """Return the tier of one claim."""
        tier: Tier = getattr(self, _ATTRIBUTES[dimension])
        return tier

    def to_json(self) -> dict[str, int]:
        """Return AR4SI name -> number, all eight."""
        return {name: int(getattr(self, field)) for name, field in _FIELDS}


@unique
class VerdictCode(StrEnum):
    """What the verifier itself holds against evidence that is otherwise genuine."""

    DEBUG_ENABLED = "debug_enabled"
    VMPL_UNEXPECTED = "vmpl_unexpected"
    MIGRATION_ENABLED = "migration_enabled"
    DEVELOPMENT_ROOT = "development_root"
    DISTRUSTED = "distrusted"
    FIRMWARE_UNKNOWN = "firmware_unknown"
    DEVICE_BINDING_UNPROVEN = "device_binding_unproven"
    TCB_REVOKED = "tcb_revoked"
    TPM_ONLY = "tpm_only"
    KEY_RESIDENCY_UNPROVEN = "key_residency_unproven"
    ROOT_OF_TRUST_ONLY = "root_of_trust_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One thing held against the evidence; it caps the result whatever a policy says.

    Attributes:
        code: from the closed list.
        claim: path of the claim it rests on.
        expected: what would not have been held against it.
        actual: what was found.
        tier: WARNING or CONTRAINDICATED; verdicts never improve anything.
    """

    code: VerdictCode
    claim: str
    expected: str
    actual: str
    tier: Tier = Tier.CONTRAINDICATED

    def __post_init__(self) -> None:
        if self.tier not in (Tier.WARNING, Tier.CONTRAINDICATED):
            raise ValueError("a verdict can only lower a result")


_CAPPED: Final = {
    # Debug access lets the host read and write the guest's memory.
    VerdictCode.DEBUG_ENABLED: (Dimension.RUNTIME_OPAQUE, Dimension.CONFIGURATION),
    # Not the layer we talk to, or the host asked: nothing says the bound keys were born inside.
    VerdictCode.VMPL_UNEXPECTED: (Dimension.INSTANCE_IDENTITY,),
    # A migration agent can move the guest's memory to a platform this evidence does not describe.
    VerdictCode.MIGRATION_ENABLED: (Dimension.RUNTIME_OPAQUE, Dimension.CONFIGURATION),
    VerdictCode.DEVELOPMENT_ROOT: (Dimension.HARDWARE,),
    VerdictCode.DISTRUSTED: (Dimension.HARDWARE,),
    # A device runs what its vendor's signed manifests do not know; a development mode looks so too.
    VerdictCode.FIRMWARE_UNKNOWN: (Dimension.EXECUTABLES, Dimension.CONFIGURATION),
    # Only the agent says that the device is in this machine (security-requirements F8c).
    VerdictCode.DEVICE_BINDING_UNPROVEN: (Dimension.HARDWARE,),
    # The vendor's signed statement says of this very TCB that it is broken.
    VerdictCode.TCB_REVOKED: (Dimension.HARDWARE,),
    # A TPM protects its keys and not the machine's memory; its bus and its co-tenants are open
    # (security-requirements F8b). Held as a warning: never affirming, and not refused for it.
    VerdictCode.TPM_ONLY: (Dimension.HARDWARE,),
    # The same of a device's root of trust (PSA): it tells how the device booted.
    VerdictCode.ROOT_OF_TRUST_ONLY: (Dimension.HARDWARE,),
    # Nothing shows that the signing key is in any TPM or device: software can write such a key.
    VerdictCode.KEY_RESIDENCY_UNPROVEN: (Dimension.HARDWARE, Dimension.INSTANCE_IDENTITY),
}


def cap(vector: TrustVector, verdicts: Iterable[Verdict]) -> TrustVector:
    """Return `vector` with each verdict's claims at the verdict's tier or worse.

    A warning about a claim that nobody vouched for contraindicates it: replacing NONE by WARNING
    would turn a refusal into a warning, and dropping the verdict would lose it.
    """
    for verdict in verdicts:
        for dimension in _CAPPED[verdict.code]:
            now = vector.tier(dimension)
            capped = Tier.CONTRAINDICATED if now is Tier.NONE else max(now, verdict.tier)
            vector = replace(vector, **{dimension.attribute: capped})
    return vector


@unique
class Posture(StrEnum):
    """A node's verdict."""

    COMPLIANT = "compliant"
    WARNING = "warning"
    NONCOMPLIANT = "noncompliant"
    STALE = "stale"
    QUARANTINED = "quarantined"

    @property
    def passing(self) -> bool:
        """Whether a node may hold keys at all.

        WARNING is no refusal: it says that something is not proven (a TPM cannot show who reads
        memory), and release policies decide what may be given to such a node.
        """
        return self in (Posture.COMPLIANT, Posture.WARNING)


def posture(vector: TrustVector, required: frozenset[Dimension]) -> Posture:
    """Return the posture a capped vector comes to: the worst tier decides.

    Only COMPLIANT, WARNING and NONCOMPLIANT come from a result; STALE and QUARANTINED are given to
    nodes by the passing of time and by operators.

    Args:
        vector: after `cap`.
        required: claims about which silence is a failure; at least one.

    Raises:
        ValueError: `required` is empty, which would let a vector that says nothing pass.
    """
    if not required:
        raise ValueError("at least one claim must be required")
    tiers = [vector.tier(dimension) for dimension in Dimension]
    if Tier.CONTRAINDICATED in tiers or any(
        vector.tier(dimension) is Tier.NONE for dimension in required
    ):
        return Posture.NONCOMPLIANT
    return Posture.WARNING if Tier.WARNING in tiers else Posture.COMPLIANT
