"""The policies and the allow-list that come with this release."""

from __future__ import annotations

from sealward import policies
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import PolicyBundle, bundle_from_files
from sealward.controlplane.domain.policy_engine import LayerPolicy
from sealward.verifier.wire import json

_MAX_BYTES = 64 * 1024


def shipped(kind: PolicyKind) -> PolicyBundle:
    """Return the shipped bundle of `kind`, checked to be inside the organisation's root."""
    bundle = bundle_from_files(policies.shipped_files(kind))
    bundle.refuse_outside(kind, Layer.ORGANISATION)
    return bundle


def shipped_policy(kind: PolicyKind, scope: str) -> LayerPolicy:
    """Return the shipped policy of `kind` as the organisation layer of `scope`."""
    return LayerPolicy(scope=scope, layer=Layer.ORGANISATION, kind=kind, bundle=shipped(kind))


def allowed_builtins() -> frozenset[str]:
    """Return the names of the built-ins that policies may call."""
    value = json.decode(policies.capabilities(), what="capabilities", max_bytes=_MAX_BYTES)
    match value:
        case {"builtins": list(builtins)}:
            return frozenset(
                name
                for entry in builtins
                if isinstance(entry, dict)
                if isinstance(name := entry["name"], str)
            )
        case _:
            raise TypeError("capabilities.json has no list of builtins")
