"""Fence, then sweep (blueprint 4.6, F16).

`fence` runs in the transaction that records a cause: its commit is the instant of revocation. From
then on no grant or renewal commits under the old state. The sweep that ends what is left is
services/sweeper.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sealward.controlplane.domain import audit
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.records import JsonText, RandomBytes, new_id
from sealward.controlplane.domain.sweeps import Sweep, SweepState
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.wire import json


def fence(
    tx: Transaction,
    *,
    scope: str,
    cause: Mapping[str, str],
    now: datetime,
    random_bytes: RandomBytes,
) -> Sweep:
    """Bump the scope's epoch and leave a running sweep behind, both in the caller's transaction.

    Args:
        tx: the transaction that records the cause.
        scope: one of domain/fences.py.
        cause: what happened, for the audit entry and the sweep: at least "code"; "kind" and "key"
            of a withdrawn reference value, "platform" of a denied platform.
        now: instant of the decision.
        random_bytes: for ids and salts.
    """
    epoch = tx.epochs.bump(scope)
    sweep = Sweep(
        sweep_id=new_id(now, random_bytes),
        cause=JsonText(json.canonical(dict(cause)).decode()),
        scope=scope,
        epoch=epoch,
        cursor=None,
        state=SweepState.running,
        started=now,
    )
    tx.sweeps.add(sweep)
    tx.audit.append(
        audit.entry(
            AuditKind.scope_fenced,
            {"scope": scope, "epoch": epoch, "sweep": sweep.sweep_id, "cause": dict(cause)},
            tenant=tx.tenant,
            now=now,
            random_bytes=random_bytes,
        )
    )
    return sweep
