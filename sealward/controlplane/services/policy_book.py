"""The parsed policies in force, and other readings of decisions, kept by the fence over them."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.activations import ActivationMode, PolicyActivation
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import PolicyBundle
from sealward.controlplane.domain.policy_engine import LayerPolicy
from sealward.controlplane.services.fenced import Fenced
from sealward.controlplane.services.policies import decode_bundle
from sealward.controlplane.services.ports import Transaction

_MAX_BUNDLES = 256  # parsed bundles kept; a tenant runs a handful
_MAX_READINGS = 8192  # of a few hundred bytes: one for each platform, image and workload at least


class PolicyBook:
    """Answers which policies decide, without parsing a bundle twice.

    What it keeps is derived from the database by digest and fence value, so replicas need not share
    it.

    Attributes:
        readings: what else decisions read under fences; each reader has keys of its own.
    """

    def __init__(self) -> None:
        self.readings = Fenced(_MAX_READINGS)
        self._lock = threading.Lock()
        self._bundles: dict[str, PolicyBundle] = {}
        self._active: dict[tuple[str, PolicyKind], tuple[int, tuple[LayerPolicy, ...]]] = {}

    def active(
        self, tx: Transaction, kind: PolicyKind, epochs: Mapping[str, int]
    ) -> tuple[LayerPolicy, ...]:
        """Return the enforced policies of one kind, organisation first.

        Args:
            tx: the snapshot that `epochs` was read in.
            kind: which question.
            epochs: fence values, the kind's own among them.
        """
        epoch = epochs[fences.policy(kind)]
        with self._lock:
            cached = self._active.get((tx.tenant, kind))
        if cached is not None and cached[0] == epoch:
            return cached[1]
        policies = tuple(
            self._load(tx, activation)
            for activation in tx.policies.active(kind.value)
            if activation.mode is ActivationMode.enforce
        )
        with self._lock:
            self._active[(tx.tenant, kind)] = (epoch, policies)
        return policies

    def _load(self, tx: Transaction, activation: PolicyActivation) -> LayerPolicy:
        bundle = self._bundles.get(activation.digest)
        if bundle is None:
            bundle = decode_bundle(tx.policies.get_revision(activation.digest).bundle)
            with self._lock:
                if len(self._bundles) >= _MAX_BUNDLES:
                    self._bundles.pop(next(iter(self._bundles)))
                self._bundles[activation.digest] = bundle
        return LayerPolicy(
            scope=f"{tx.tenant}/{activation.scope}",
            layer=Layer(activation.layer),
            kind=PolicyKind(activation.kind),
            bundle=bundle,
        )
