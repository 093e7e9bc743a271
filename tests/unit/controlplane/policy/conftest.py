"""Real engines and real workers; the policies are what differs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.domain.policies import Layer, PolicyKind, package_root
from sealward.controlplane.domain.policies_bundle import bundle_from_files
from sealward.controlplane.domain.policy_engine import LayerPolicy

PolicyOf = Callable[..., LayerPolicy]

RELEASE_GOOD = """
allow := true
reasons := set()
obligations := {"ttl_seconds": 60}
"""


@pytest.fixture
def policy_of() -> PolicyOf:
    """Return a function that makes a one-file policy from what follows its package clause."""

    def make(
        body: str,
        *,
        kind: PolicyKind = PolicyKind.RELEASE,
        layer: Layer = Layer.ORGANISATION,
        scope: str = "tenant/default",
        files: dict[str, bytes] | None = None,
    ) -> LayerPolicy:
        root = package_root(kind, layer)
        manifest = f'{{"roots":["{root.replace(".", "/")}"]}}'
        text = f"package {root}\n\nimport rego.v1\n{body}"
        every = {".manifest": manifest.encode(), "policy.rego": text.encode(), **(files or {})}
        return LayerPolicy(scope=scope, layer=layer, kind=kind, bundle=bundle_from_files(every))

    return make


@pytest.fixture
def good_policy(policy_of: PolicyOf) -> LayerPolicy:
    return policy_of(RELEASE_GOOD)


@pytest.fixture(scope="session")
def roomy() -> EngineSettings:
    """Settings for tests that judge answers: a noisy machine must not turn them into timeouts."""
    return EngineSettings(deadline_seconds=5, load_seconds=10)


@pytest.fixture(scope="session")
def engine(roomy: EngineSettings) -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(roomy, time.monotonic)
    yield engine
    engine.close()
