"""The port to a policy engine: one question to one layer's policy, one answer or one error.

Implementations are synchronous and thread-safe. They never answer "no" on their own: what is not
an answer of the policy itself is a PolicyEngineError, which the host turns into a denial.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final, Protocol, TypeAlias

from sealward.controlplane.domain.policies import Layer, PolicyKind, package_root
from sealward.controlplane.domain.policies_bundle import PolicyBundle

LayerKey: TypeAlias = tuple[str, Layer, PolicyKind, str]


@unique
class EngineFault(StrEnum):
    """Why there is no answer."""

    TIMEOUT = "timeout"  # no answer within the deadline; the worker was killed
    CRASHED = "crashed"  # the worker ended: stack overflow, memory limit, abort
    UNDEFINED = "undefined"  # the policy has no value for a name it must answer
    ERROR = "error"  # the policy or its data was refused, or a rule raised an error
    BUSY = "busy"  # not tried: every worker is taken, or the policy is cooling down


class PolicyEngineError(Exception):
    """A policy gave no answer.

    Attributes:
        fault: which kind.
        detail: one clause for an operator; for errors in Rego it starts with file:line:column.
    """

    def __init__(self, fault: EngineFault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault: Final = fault
        self.detail: Final = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPolicy:
    """One revision in the place where it is active: what an engine loads and evaluates alone.

    Attributes:
        scope: whose layer this is, for example "tenant/default" or "tenant/default/team/vision".
            Two scopes never share a worker, even under the same bundle.
        layer: where the policy stands in the composition.
        kind: the question it answers.
        bundle: its content.
    """

    scope: str
    layer: Layer
    kind: PolicyKind
    bundle: PolicyBundle

    @property
    def key(self) -> LayerKey:
        """Identity of the engine instance that may evaluate this policy and nothing else."""
        return (self.scope, self.layer, self.kind, self.bundle.digest)

    @property
    def package(self) -> str:
        """The package that answers, in dots."""
        return package_root(self.kind, self.layer)


class PolicyEngine(Protocol):
    """Evaluates one layer's policy on one document."""

    def evaluate(self, policy: LayerPolicy, document: bytes, reference: bytes = b"{}") -> bytes:
        """Return the policy's answer as canonical JSON.

        Args:
            policy: what to evaluate; loaded on first use and kept while it is used.
            document: canonical JSON object that the policy sees as `input`; made by the host with
                `wire.json.canonical`, never passed on from outside.
            reference: canonical JSON object that the policy sees as `data.reference`: only the
                entries that these claims match, and floors.

        Raises:
            PolicyEngineError: there is no answer; the caller denies and shows the fault.
        """
        ...
