"""services.policies.PolicyCheck over the embedded engine: what an uploaded bundle has to pass."""

from __future__ import annotations

from dataclasses import dataclass

from sealward.controlplane.adapters.policy_engine.check import check, check_samples
from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.adapters.policy_engine.shipped import allowed_builtins, shipped
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import PolicyBundle
from sealward.controlplane.domain.policy_engine import LayerPolicy, PolicyEngine

_SCOPE = "upload"  # never that of an activation, so an upload shares no worker with a decision
_SHOWN = 5  # problems told at once; an author mends a few at a time


@dataclass(frozen=True, slots=True)
class UploadCheck:
    """Checks a bundle in workers of its own, on its samples and on those of the shipped policy.

    Attributes:
        engine: the embedded one, whatever decides: what an upload may break is a worker.
        settings: limits of the worker that parses and tests.
        second: another engine that decides, if one does; it has to give the same answers, and
            sees an upload only after the embedded engine found nothing.
    """

    engine: EmbeddedEngine
    settings: EngineSettings
    second: PolicyEngine | None = None

    def __call__(self, bundle: PolicyBundle, kind: PolicyKind, layer: Layer) -> None:
        """Return when the bundle may become a revision; Refused(policy_invalid) otherwise."""
        policy = LayerPolicy(scope=_SCOPE, layer=layer, kind=kind, bundle=bundle)
        samples = shipped(kind).samples
        problems = check(
            policy,
            builtins=allowed_builtins(),
            samples=samples,
            engine=self.engine,
            settings=self.settings,
        )
        if not problems and self.second is not None:
            problems = check_samples(policy, samples, self.second)
        if not problems:
            return
        told = [problem.describe() for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            told.append(f"and {len(problems) - _SHOWN} more")
        raise Refused(Code.policy_invalid, "; ".join(told), "correct the bundle and push it again")
