"""Housekeeping by the clock.

Leases that passed their horizon, challenges that nobody can redeem.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sealward.controlplane.domain.nodes import FailureClass
from sealward.controlplane.services import lease_ledger
from sealward.controlplane.services.ports import Clock, Database, Transaction
from sealward.verifier.rats.result import Posture

_BATCH: Final = 256  # rows in one unit of work, so that decisions never wait long behind this
NOT_RENEWED: Final = "not_renewed"


@dataclass(frozen=True, slots=True)
class Housekeeper:
    """Ends what the clock has ended.

    A lapsed lease needs no terms: its agent counted for itself.
    """

    database: Database
    clock: Clock

    def run(self) -> int:
        """Return how many leases had lapsed."""
        now = self.clock.now()

        def write(tx: Transaction) -> int:
            tx.challenges.purge(now, limit=_BATCH)
            lapsed = tx.leases.lapsed(now, limit=_BATCH)
            for lease in lapsed:
                change = lease_ledger.ended(
                    lease, cause="horizon passed", exposure=lease.exposure, now=lease.not_after
                )
                tx.leases.save(change.lease)
                node = tx.nodes.get(lease.node_id)
                if node.posture is Posture.COMPLIANT:
                    tx.nodes.save(
                        replace(
                            node,
                            posture=Posture.STALE,
                            posture_code=NOT_RENEWED,
                            failure_class=FailureClass.freshness,
                        )
                    )
            return len(lapsed)

        return self.database.write(write)
