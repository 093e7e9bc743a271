"""Leases and the exposure ledger, for those who ask who holds or ever held what (F1)."""

from __future__ import annotations

from dataclasses import dataclass

from sealward.controlplane.domain.leases import Lease, LeasedModel, WipeStatement
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import Page
from sealward.controlplane.services.administration import Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseInFull:
    """A lease, the model versions whose content keys it carried, and the node's wipe statements."""

    lease: Lease
    models: tuple[LeasedModel, ...]
    wipes: tuple[WipeStatement, ...]


@dataclass(frozen=True, slots=True)
class Leases:
    """Use cases around leases; all of them read."""

    on: Dependencies

    def page(
        self,
        principal: Principal,
        *,
        limit: int,
        after: str | None,
        node_id: str | None = None,
        workload: str | None = None,
        active: bool | None = None,
    ) -> Page[Lease]:
        """List leases by id, optionally of one node, of one workload, active or ended."""
        require(principal, Right.lease_read)
        return self.on.database.read(
            lambda tx: tx.leases.page(
                limit=limit, after=after, node_id=node_id, workload=workload, active=active
            )
        )

    def get(self, principal: Principal, lease_id: str) -> LeaseInFull:
        """Return one lease; NotFound."""
        require(principal, Right.lease_read)

        def work(tx: Transaction) -> LeaseInFull:
            lease = tx.leases.get(lease_id)
            return LeaseInFull(
                lease=lease,
                models=tx.leases.models(lease_id),
                wipes=tx.terms.wipes(lease.node_id),
            )

        return self.on.database.read(work)

    def exposure(
        self,
        principal: Principal,
        workload: str,
        model: str,
        version: int,
        *,
        limit: int,
        after: str | None,
    ) -> Page[Lease]:
        """List every lease that ever carried the content key of this model version.

        Raises:
            NotFound: model_unknown.
        """
        require(principal, Right.lease_read)

        def work(tx: Transaction) -> Page[Lease]:
            tx.models.get(workload, model, version)
            return tx.leases.exposures(workload, model, version, limit=limit, after=after)

        return self.on.database.read(work)
