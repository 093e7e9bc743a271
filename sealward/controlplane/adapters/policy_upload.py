"""services.policies.PolicyCheck over the embedded engine: what an uploaded bundle has to pass."""

from __future__ import annotations

from dataclasses import dataclass

from sealward.controlplane.adapters.policy_engine.check import check
from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.adapters.policy_engine.shipped import allowed_builtins, shipped
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import PolicyBundle
from sealward.controlplane.domain.policy_engine import LayerPolicy

_SCOPE = "upload"  # never that of an activation, so an upload shares no worker with a decision
_SHOWN = 5  # problems told at once; an author mends a few at a time


@dataclass(frozen=True, slots=True)
class UploadCheck:
    """Checks a bundle in workers of its own, on its samples and on those of the shipped policy."""

    engine: EmbeddedEngine
    settings: EngineSettings

    def __call__(self, bundle: PolicyBundle, kind: PolicyKind, layer: Layer) -> None:
        """Return when the bundle may become a revision; Refused(policy_invalid) otherwise."""
        problems = check(
            LayerPolicy(scope=_SCOPE, layer=layer, kind=kind, bundle=bundle),
            builtins=allowed_builtins(),
            samples=shipped(kind).samples,
            engine=self.engine,
            settings=self.settings,
        )
        if not problems:
            return
        told = [problem.describe() for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            told.append(f"and {len(problems) - _SHOWN} more")
        raise Refused(Code.policy_invalid, "; ".join(told), "correct the bundle and push it again")
