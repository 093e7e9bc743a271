"""The words of policy as code: kinds, layers, reasons, trust vectors and what policies answer.

A policy never acts. It answers one of three questions, and the host decides
(docs/specs/policy-contract.md):

    appraisal    how far can these claims be trusted?        AppraisalAnswer
    enrollment   does this node belong to us?                EnrollmentAnswer
    release      may this node use this workload's keys?     ReleaseAnswer

The JSON contract is docs/specs/policy-contract.md; `policies_decoding` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final, TypeAlias

from sealward.verifier.rats.result import Dimension, TrustVector

Scalar: TypeAlias = str | int | bool | None


@unique
class PolicyKind(StrEnum):
    """The three questions that policies answer."""

    APPRAISAL = "appraisal"
    RELEASE = "release"
    ENROLLMENT = "enrollment"


@unique
class Layer(StrEnum):
    """Who wrote a policy, widest authority first. Each is evaluated alone (F20)."""

    ORGANISATION = "organisation"
    TEAM = "team"
    WORKLOAD = "workload"


def package_root(kind: PolicyKind, layer: Layer) -> str:
    """Return the package, in dots, below which a bundle of this kind and layer must stay."""
    if layer is Layer.ORGANISATION:
        return f"sealward.{kind}"
    return f"sealward.{layer}.{kind}"


# Claims about which silence is a failure (docs/specs/policy-contract.md, 7). File system, storage
# and sourced data may be `none`: launch evidence of some formats is silent about them, and the
# release policy asks for what a workload needs.
REQUIRED: Final = frozenset(
    {
        Dimension.INSTANCE_IDENTITY,
        Dimension.CONFIGURATION,
        Dimension.EXECUTABLES,
        Dimension.HARDWARE,
        Dimension.RUNTIME_OPAQUE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One step of an explanation: which claim, what was expected, what was found, what to do.

    Attributes:
        code: stable word, for example "unknown_measurement".
        claim: path of the claim concerned, for example "claims.debug"; None when no single one is.
        expected: what would have been accepted.
        actual: what was found, exactly as found, because waivers bind it (F22).
        hint: what to do next, one sentence.
        layer: the layer whose policy said it; set by the host, never by the policy.
        rule: the package that said it, in dots; set by the host.
    """

    code: str
    claim: str | None
    expected: Scalar
    actual: Scalar
    hint: str
    layer: Layer
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligations:
    """Limits under which a release holds; None means that the layer says nothing about it.

    Attributes:
        ttl_seconds: longest life of a lease, seconds, at least 1.
        max_instances: most instances that may hold the workload's keys at once, at least 1.
        regions: places where the keys may be used; never empty.
    """

    ttl_seconds: int | None = None
    max_instances: int | None = None
    regions: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label that the enrollment policy derived from verified claims."""

    name: str
    value: str


@unique
class Admission(StrEnum):
    """Answers of an enrollment policy, most welcoming first."""

    ADMIT = "admit"
    PEND = "pend"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppraisalAnswer:
    """How far the claims can be trusted, and why not further.

    `submods` are vectors of other attesters in the same evidence (GPUs), by the label of their
    claims, sorted; a policy that says nothing of them leaves them to the other layers.
    """

    trust_vector: TrustVector
    reasons: tuple[Reason, ...]
    submods: tuple[tuple[str, TrustVector], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentAnswer:
    """Whether a node belongs to us."""

    answer: Admission
    labels: tuple[Label, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAnswer:
    """Whether a node may use a workload's keys, and under which limits."""

    allow: bool
    reasons: tuple[Reason, ...]
    obligations: Obligations


Answer: TypeAlias = AppraisalAnswer | EnrollmentAnswer | ReleaseAnswer
