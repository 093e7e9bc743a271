"""Workloads: named rights to run model versions, and the HPKE key that models are sealed to.

The private half of a workload key is made here, wrapped at once and never leaves; what leaves is
the public key file that an owner seals with (F2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.horizon import CEILING
from sealward.controlplane.domain.keys import KeyContext, WrapPurpose
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import JsonText, Page
from sealward.controlplane.domain.workloads import Workload, WorkloadKey
from sealward.controlplane.services import inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.creators import decode_keys, pin
from sealward.controlplane.services.ports import Transaction
from sealward.sealing import workload_key
from sealward.sealing.hpke import PrivateKey, PublicKey, Suite
from sealward.sealing.memory import wipe

MAX_INSTANCES: Final = 1_000_000  # far beyond any fleet; keeps the number a number
_FIRST_VERSION: Final = 1
_ANY_NODE: Final = JsonText("{}")  # selectors over labels come with the policy-as-code issue


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadWithKey:
    """A workload and its newest key."""

    workload: Workload
    key: WorkloadKey


@dataclass(frozen=True, slots=True)
class Workloads:
    """Use cases around workloads."""

    on: Dependencies

    def create(
        self,
        principal: Principal,
        *,
        name: str,
        data_class: str,
        production: bool,
        ttl: timedelta,
        max_instances: int | None,
        creators: tuple[bytes, ...] = (),
        suite: Suite = Suite.MLKEM768_X25519,
    ) -> WorkloadWithKey:
        """Create a workload with the first version of its key, and pin these creator keys to it.

        Without a creator key no model can be registered for it until one is added.

        Raises:
            Refused: forbidden, invalid_request.
            Conflict: already_exists.
        """
        require(principal, Right.workload_create)
        inputs.name(name, "the name of the workload")
        inputs.name(data_class, "the data class")
        inputs.lifetime(ttl, "the ttl", most=CEILING)
        if max_instances is not None and not 1 <= max_instances <= MAX_INSTANCES:
            raise inputs.invalid(
                f"max_instances is not 1 to {MAX_INSTANCES}", "leave it out for no limit"
            )
        pinned = decode_keys(creators)
        now = self.on.clock.now()
        key = self._new_key(name, suite, now)

        def work(tx: Transaction) -> WorkloadWithKey:
            body: Body = {
                "workload": name,
                "data_class": data_class,
                "production": production,
                "ttl_seconds": int(ttl.total_seconds()),
                "max_instances": max_instances,
            }
            entry_id = self.on.record(tx, AuditKind.workload_created, body, by=principal, now=now)
            workload = Workload(
                name=name,
                data_class=data_class,
                production=production,
                ttl=ttl,
                max_instances=max_instances,
                selector=_ANY_NODE,
                created=now,
                entry_id=entry_id,
            )
            tx.workloads.add(workload)
            tx.workloads.add_key(key)
            tx.epochs.bump(fences.workload(name))  # decisions have read that there is none
            made = _key_body(key)
            self.on.record(tx, AuditKind.workload_key_created, made, by=principal, now=now)
            for public in pinned:
                pin(self.on, tx, name, public, by=principal, now=now)
            return WorkloadWithKey(workload=workload, key=key)

        return self.on.database.write(work)

    def page(self, principal: Principal, *, limit: int, after: str | None) -> Page[Workload]:
        """List workloads by name."""
        require(principal, Right.workload_read)
        return self.on.database.read(lambda tx: tx.workloads.page(limit=limit, after=after))

    def get(self, principal: Principal, name: str) -> WorkloadWithKey:
        """Return a workload with its newest key; NotFound(workload_unknown)."""
        require(principal, Right.workload_read)
        return self.on.database.read(
            lambda tx: WorkloadWithKey(
                workload=tx.workloads.get(name), key=tx.workloads.latest_key(name)
            )
        )

    def public_key_file(self, principal: Principal, name: str) -> bytes:
        """Return the public key file (docs/specs/sealed-model.md section 7) that owners seal with.

        Raises:
            NotFound: workload_unknown.
            Refused: forbidden.
        """
        require(principal, Right.workload_read)

        def work(tx: Transaction) -> bytes:
            tx.workloads.get(name)
            key = tx.workloads.latest_key(name)
            public = PublicKey.decode(key.public)
            return workload_key.WorkloadKey(tenant=tx.tenant, workload=name, public=public).encode()

        return self.on.database.read(work)

    def _new_key(self, workload: str, suite: Suite, now: datetime) -> WorkloadKey:
        private = PrivateKey.generate(suite, self.on.random_bytes)
        encoded = private.encode()
        try:
            context = KeyContext(
                purpose=WrapPurpose.workload_private,
                tenant=self.on.tenant,
                workload=workload,
                version=_FIRST_VERSION,
            )
            wrapped = self.on.keystore.wrap(bytes(encoded), context)
        finally:
            wipe(encoded)
            private.wipe()
        return WorkloadKey(
            workload=workload,
            version=_FIRST_VERSION,
            key_id=private.public.key_id.hex(),
            suite=str(suite),
            public=private.public.encoded,
            wrapped_private=wrapped,
            created=now,
        )


def _key_body(key: WorkloadKey) -> Body:
    return {
        "workload": key.workload,
        "version": key.version,
        "key_id": key.key_id,
        "suite": key.suite,
    }
