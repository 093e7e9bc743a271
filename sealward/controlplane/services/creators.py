"""Creator keys: whose models a workload runs, as an administrator says and nobody else.

Whoever may register models chooses among the models of these creators; without the pin an operator
could seal a model under a key of his own and have it served in a creator's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.workloads import Creator, ModelState
from sealward.controlplane.services import inputs, models
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Transaction
from sealward.sealing.errors import SealedModelError
from sealward.sealing.signing import CreatorPublicKey

MAX_CREATORS: Final = 16  # in one request: the people who may seal for one workload, and successors
_BATCH: Final = 16  # models read at once; a registration is up to 4 MiB


@dataclass(frozen=True, slots=True)
class Creators:
    """Use cases around the creator keys of workloads."""

    on: Dependencies

    def add(self, principal: Principal, workload: str, public: bytes) -> Creator:
        """Pin a creator key (the whole key, suite id first) to a workload.

        Raises:
            Refused: forbidden, invalid_request.
            NotFound: workload_unknown.
            Conflict: already_exists.
        """
        require(principal, Right.creator_manage)
        (key,) = decode_keys((public,))
        now = self.on.clock.now()

        def work(tx: Transaction) -> Creator:
            tx.workloads.get(workload)
            return pin(self.on, tx, workload, key, by=principal, now=now)

        return self.on.database.write(work)  # takes nothing away, so there is nothing to fence

    def remove(self, principal: Principal, workload: str, key_id: str, *, reason: str) -> Creator:
        """Trust a creator no more: its models are withdrawn, and leases that carry them end.

        Returns the key as it was pinned.

        Raises:
            Refused: forbidden, invalid_request.
            NotFound: workload_unknown, not_found.
        """
        require(principal, Right.creator_manage)
        inputs.lower_hex(key_id, "the key id", least_bytes=32, most_bytes=32)
        inputs.text(reason, "the reason", least=1)
        now = self.on.clock.now()

        def work(tx: Transaction) -> Creator:
            tx.workloads.get(workload)
            removed = tx.workloads.remove_creator(workload, key_id)
            body: Body = {"workload": workload, "creator": key_id, "reason": reason}
            self.on.record(tx, AuditKind.workload_creator_removed, body, by=principal, now=now)
            while found := tx.models.page(
                workload, limit=_BATCH, state=ModelState.active, creator=key_id
            ).items:
                for model in found:
                    models.mark_withdrawn(self.on, tx, model, reason, by=principal, now=now)
            cause = {"code": "creator_removed", "creator": key_id}
            self.on.fence(tx, fences.workload(workload), cause, now)
            return removed

        removed = self.on.database.write(work)
        self.on.wake.sweeps()
        return removed

    def page(
        self, principal: Principal, workload: str, *, limit: int, after: str | None
    ) -> Page[Creator]:
        """List a workload's creator keys by key id; NotFound(workload_unknown)."""
        require(principal, Right.workload_read)

        def work(tx: Transaction) -> Page[Creator]:
            tx.workloads.get(workload)
            return tx.workloads.creators(workload, limit=limit, after=after)

        return self.on.database.read(work)


def decode_keys(encoded: tuple[bytes, ...]) -> tuple[CreatorPublicKey, ...]:
    """Read the creator keys of one request.

    Raises:
        Refused: invalid_request for what is not a key, for one given twice and for too many.
    """
    try:
        keys = tuple(CreatorPublicKey.decode(each) for each in encoded)
    except SealedModelError as error:
        raise inputs.invalid(
            f"a creator key is not one: {error.detail}",
            "take the .pub file that `sealward model creator-keygen` wrote",
        ) from None
    if len(keys) > MAX_CREATORS or len({key.key_id for key in keys}) != len(keys):
        raise inputs.invalid(
            f"more than {MAX_CREATORS} creator keys, or one of them twice", "name each key once"
        )
    return keys


def pin(
    on: Dependencies,
    tx: Transaction,
    workload: str,
    key: CreatorPublicKey,
    *,
    by: Principal,
    now: datetime,
) -> Creator:
    """Pin one key and record it; Conflict(already_exists)."""
    key_id = key.key_id.hex()
    body: Body = {"workload": workload, "creator": key_id}
    entry_id = on.record(tx, AuditKind.workload_creator_added, body, by=by, now=now)
    creator = Creator(
        workload=workload,
        key_id=key_id,
        public=key.encoded,
        by=by.name,
        added=now,
        entry_id=entry_id,
    )
    tx.workloads.add_creator(creator)
    return creator
