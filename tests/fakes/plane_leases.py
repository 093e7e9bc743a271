"""What a fake control plane remembers of one node, and how it decides about its leases."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sealward.protos.terms import LeaseTerms, LeaseTermsState, ModelTerms


@dataclass
class PlaneNode:
    """What the plane knows of one node."""

    spki: bytes
    signing_public: bytes
    sequence: int = 0
    ratchet: dict[int, bytes] = field(default_factory=dict)
    issued: int = 0
    confirmed: int = 0
    leases: dict[str, LeaseTerms] = field(default_factory=dict)  # active, by workload
    ever: dict[bytes, LeaseTerms] = field(default_factory=dict)  # all that were granted, by id
    revocations: list[tuple[int, bytes]] = field(default_factory=list)  # sequence, signed terms

    def decide(
        self,
        held: tuple[bytes, ...],
        models: Mapping[str, tuple[ModelTerms, ...]],
        ttl_ms: int,
    ) -> tuple[LeaseTerms, ...]:
        """Decide every lease: all that is active is named, all else that the node holds ended.

        A lease that the node does not hold is never renewed: a new one takes its place.

        Args:
            held: lease ids in the binding.
            models: workloads that are granted now, and what their leases carry.
            ttl_ms: of every lease.
        """
        now_ms = time.time_ns() // 1_000_000
        before, self.leases = self.leases, {}
        for name, carried in models.items():
            old = before.get(name)
            if old is not None and (old.lease_id not in held or old.not_after_ms <= now_ms):
                old = None
            renewed = old is not None and set(carried) <= set(old.models)
            self.leases[name] = LeaseTerms(
                lease_id=os.urandom(16) if old is None else old.lease_id,
                workload=name,
                state=LeaseTermsState.RENEWED if renewed else LeaseTermsState.GRANTED,
                ttl_ms=ttl_ms,
                not_after_ms=now_ms + ttl_ms,
                cause="ttl of the workload",
                models=carried,
            )
        self.ever |= {lease.lease_id: lease for lease in self.leases.values()}
        active = {lease.lease_id for lease in self.leases.values()}
        gone = {lease.lease_id for lease in before.values()} | set(held)
        ended = (over(self.ever[lease_id]) for lease_id in sorted(gone - active))
        return (*self.leases.values(), *ended)


def over(lease: LeaseTerms) -> LeaseTerms:
    """Return what terms say of a lease that has ended."""
    return replace(lease, state=LeaseTermsState.ENDED, ttl_ms=0, models=(), cause="over")
