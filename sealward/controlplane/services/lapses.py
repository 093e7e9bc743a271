"""Housekeeping by the clock.

Leases that passed their horizon, challenges that nobody can redeem, attempts of long ago, keys
whose life is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sealward.controlplane.domain import audit
from sealward.controlplane.domain.attempts import KEPT_FOR
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.keys import RESULT_KEY_LIFE
from sealward.controlplane.domain.nodes import FailureClass
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.services import lease_ledger
from sealward.controlplane.services.ports import Clock, Database, Keystore, Transaction
from sealward.verifier.rats.result import Posture

_BATCH: Final = 256  # rows in one unit of work, so that decisions never wait long behind this
NOT_RENEWED: Final = "not_renewed"


@dataclass(frozen=True, slots=True)
class Housekeeper:
    """Ends what the clock has ended.

    A lapsed lease needs no terms: its agent counted for itself.
    """

    database: Database
    keystore: Keystore
    clock: Clock
    random_bytes: RandomBytes

    def run(self) -> int:
        """Return how many leases had lapsed."""
        lapsed = self._lapse()
        self._replace_result_key()
        while self.database.write(lambda tx: tx.challenges.purge(self.clock.now(), limit=_BATCH)):
            pass  # in small units of work, until nothing that has expired is left
        while self.database.write(lambda tx: tx.devices.purge(self.clock.now(), limit=_BATCH)):
            pass
        long_ago = self.clock.now() - KEPT_FOR
        while self.database.write(lambda tx: tx.attempts.purge(long_ago, limit=_BATCH)):
            pass
        return lapsed

    def record_refusals(self, counts: Mapping[str, int]) -> None:
        """Put what was refused since the last time into the audit log, as one entry (F25)."""
        if not counts:
            return

        def write(tx: Transaction) -> None:
            tx.audit.append(
                audit.entry(
                    AuditKind.requests_refused,
                    {"counts": dict(counts)},
                    now=self.clock.now(),
                    random_bytes=self.random_bytes,
                    tenant=tx.tenant,
                )
            )

        self.database.write(write)

    def _replace_result_key(self) -> None:
        now = self.clock.now()
        if now < self.keystore.result_keys()[0].made + RESULT_KEY_LIFE:
            return
        self.database.write(
            lambda tx: tx.audit.append(
                audit.entry(
                    AuditKind.result_key_replaced,
                    {"by": "age", "revoked": False},
                    now=now,
                    random_bytes=self.random_bytes,
                    tenant=tx.tenant,
                )
            )
        )
        self.keystore.rotate_result_key(now, keep_previous=True)

    def _lapse(self) -> int:
        now = self.clock.now()

        def write(tx: Transaction) -> int:
            lapsed = tx.leases.lapsed(now, limit=_BATCH)
            for lease in lapsed:
                change = lease_ledger.ended(
                    lease, cause="horizon passed", exposure=lease.exposure, now=lease.not_after
                )
                tx.leases.save(change.lease)
                node = tx.nodes.get(lease.node_id)
                if node.posture.passing:
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
