"""What happens to a node's leases in one decision, and what exposure each of them leaves (F1).

Planning is pure; `apply` stores a plan inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sealward.controlplane.domain.errors import Code, Conflict
from sealward.controlplane.domain.horizon import Horizon
from sealward.controlplane.domain.leases import (
    Bounded,
    Exposure,
    Lease,
    LeasedModel,
    LeaseState,
    Open,
)
from sealward.controlplane.domain.nodes import FailureClass
from sealward.controlplane.domain.records import RandomBytes, unix_ms
from sealward.controlplane.domain.workloads import ModelVersion
from sealward.controlplane.services.ports import Transaction
from sealward.protos.terms import LeaseTerms, LeaseTermsState, ModelTerms, Obligation


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A workload that every layer allowed to a node.

    Attributes:
        workload: its name.
        models: the versions granted: the newest active one of each model.
        min_versions: model name -> lowest version that may still be served.
        horizon: until when, and what sets it.
        obligations: composed limits, as they stand in the terms.
        max_instances: most instances that may hold the workload at once, None for any number.
    """

    workload: str
    models: tuple[ModelVersion, ...]
    min_versions: Mapping[str, int]
    horizon: Horizon
    obligations: Mapping[str, Obligation]
    max_instances: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseChange:
    """One lease after a decision.

    Attributes:
        lease: the record to store; `sequence` is filled in by the caller.
        state: what the terms say of it.
        release: None when it ended.
        needs_keys: whether content keys travel along: a new lease, or new model versions in it.
    """

    lease: Lease
    state: LeaseTermsState
    release: Release | None
    needs_keys: bool


def carried_keys(
    active: Iterable[Lease],
    leased_models: Mapping[str, frozenset[str]],
    *,
    held: frozenset[str],
    now: datetime,
) -> dict[str, frozenset[str]]:
    """Return workload -> content key ids that the agent holds under a lease that can be renewed."""
    return {
        lease.workload: leased_models[lease.lease_id]
        for lease in active
        if lease.lease_id in held and lease.not_after > now
    }


def change_leases(
    *,
    node_id: str,
    active: Iterable[Lease],
    releases: Iterable[Release],
    end_causes: Mapping[str, str],
    held: frozenset[str],
    leased_models: Mapping[str, frozenset[str]],
    failure: FailureClass | None,
    challenge_issued: datetime,
    now: datetime,
    epoch_digest: str,
    random_bytes: RandomBytes,
) -> tuple[LeaseChange, ...]:
    """Return one change for every lease that a decision touches.

    Args:
        node_id: whose leases.
        active: its active leases.
        releases: workloads that were asked for and allowed.
        end_causes: workload -> why it was refused; other active workloads were not asked for.
        held: lease ids that the agent says it holds.
        leased_models: lease id -> content key ids that the lease has carried.
        failure: class of the failure behind this decision, None when the posture is compliant.
        challenge_issued: freshness of the evidence behind this decision.
        now: instant of the decision.
        epoch_digest: names the fence values that the decision read.
        random_bytes: for new lease ids.
    """
    before = {lease.workload: lease for lease in active}
    carried = carried_keys(before.values(), leased_models, held=held, now=now)
    changes = []
    for release in releases:
        lease = before.pop(release.workload, None)
        if lease is None or release.workload not in carried:
            if lease is not None:
                # An id that its agent has given up, or never got, is never revived: the agent
                # would refuse it, and a new one costs nothing.
                cause = "horizon passed" if lease.not_after <= now else "not held"
                changes.append(ended(lease, cause=cause, exposure=lease.exposure, now=now))
            changes.append(
                _granted(
                    node_id,
                    release,
                    challenge_issued=challenge_issued,
                    now=now,
                    epoch_digest=epoch_digest,
                    random_bytes=random_bytes,
                )
            )
            continue
        renewed = replace(lease, challenge_issued=challenge_issued, epoch_digest=epoch_digest)
        changes.append(_renewed(renewed, release, carried[release.workload]))
    for workload, lease in before.items():
        cause = end_causes.get(workload, "not asked for")
        exposure = exposure_after(lease, failure=failure, cause=cause)
        changes.append(ended(lease, cause=cause, exposure=exposure, now=now))
    return tuple(changes)


def ended(lease: Lease, *, cause: str, exposure: Exposure, now: datetime) -> LeaseChange:
    """Return the change that ends `lease`."""
    record = replace(lease, state=LeaseState.ended, ended=now, end_cause=cause, exposure=exposure)
    return LeaseChange(lease=record, state=LeaseTermsState.ENDED, release=None, needs_keys=False)


def exposed(lease: Lease, exposure: Exposure) -> LeaseChange:
    """Return the change that only restates what a lease that has ended leaves exposed."""
    record = replace(lease, exposure=exposure)
    return LeaseChange(lease=record, state=LeaseTermsState.ENDED, release=None, needs_keys=False)


def exposure_after(lease: Lease, *, failure: FailureClass | None, cause: str) -> Exposure:
    """Return what an ended lease leaves exposed.

    An integrity failure, a clone or a measurement that is no longer trusted means that the code
    which held the key cannot be believed: open, and only resealing changes that. Any other cause
    leaves what an unmodified agent can still use: until the horizon it last knew.
    """
    if failure is not None and failure.exposes:
        return Open(reason=cause)
    return lease.exposure


def apply(
    tx: Transaction, before: Iterable[Lease], changes: Iterable[LeaseChange], *, sequence: int
) -> None:
    """Store changes and the exposure ledger's lines in the deciding transaction.

    Args:
        tx: the deciding transaction.
        before: the active leases that the changes were made from.
        changes: what becomes of them, and new ones.
        sequence: of the terms that tell the node.

    Raises:
        Conflict: `state_changed`, a lease is not as it was, or its workload has no room left.
    """
    read = {lease.lease_id: lease for lease in before}
    for change in changes:
        lease = replace(change.lease, sequence=sequence)
        if change.release is not None and change.lease.sequence == 0:
            _require_room(tx, change.release)
            tx.leases.add(lease, ledger_lines(change))
            continue
        tx.leases.change(read[lease.lease_id], lease)
        if change.needs_keys:
            tx.leases.add_models(ledger_lines(change))


def _require_room(tx: Transaction, release: Release) -> None:
    """Count again where nobody else is writing: two nodes may have counted at the same time (F35).

    Raises:
        Conflict: `state_changed`; the next evaluation refuses with the reason.
    """
    most = release.max_instances
    if most is not None and tx.leases.count_active(release.workload) >= most:
        raise Conflict(Code.state_changed, f"{release.workload} has no room left")


def ledger_lines(change: LeaseChange) -> tuple[LeasedModel, ...]:
    """Return the exposure ledger's lines for a lease whose keys are about to travel."""
    if change.release is None:
        return ()
    return tuple(
        LeasedModel(
            lease_id=change.lease.lease_id,
            model=model.name,
            version=model.version,
            content_key_id=model.content_key_id,
        )
        for model in change.release.models
    )


def lease_terms(change: LeaseChange, *, received: datetime) -> LeaseTerms:
    """Return what the terms say of a change; the ttl counts from before the request was sent."""
    lease = change.lease
    lease_id = bytes.fromhex(lease.lease_id)
    if change.release is None:
        return LeaseTerms(
            lease_id=lease_id,
            workload=lease.workload,
            state=change.state,
            ttl_ms=0,
            not_after_ms=unix_ms(lease.ended or received),
            cause=lease.end_cause,
        )
    return LeaseTerms(
        lease_id=lease_id,
        workload=lease.workload,
        state=change.state,
        ttl_ms=max(0, (lease.not_after - received) // timedelta(milliseconds=1)),
        not_after_ms=unix_ms(lease.not_after),
        cause=lease.horizon_cause,
        models=tuple(_model_terms(model, change.release) for model in change.release.models),
        obligations=change.release.obligations,
    )


def _granted(
    node_id: str,
    release: Release,
    *,
    challenge_issued: datetime,
    now: datetime,
    epoch_digest: str,
    random_bytes: RandomBytes,
) -> LeaseChange:
    lease = Lease(
        lease_id=random_bytes(16).hex(),
        node_id=node_id,
        workload=release.workload,
        state=LeaseState.active,
        granted=now,
        challenge_issued=challenge_issued,
        not_after=release.horizon.until,
        horizon_cause=release.horizon.cause,
        exposure=Bounded(until=release.horizon.until),
        sequence=0,
        epoch_digest=epoch_digest,
    )
    return LeaseChange(lease=lease, state=LeaseTermsState.GRANTED, release=release, needs_keys=True)


def _renewed(lease: Lease, release: Release, carried: frozenset[str]) -> LeaseChange:
    """Return the change that lets `lease` go on; keys that it never carried go along."""
    missing = not {model.content_key_id for model in release.models} <= carried
    record = replace(
        lease,
        not_after=release.horizon.until,
        horizon_cause=release.horizon.cause,
        exposure=Bounded(until=release.horizon.until),
    )
    state = LeaseTermsState.GRANTED if missing else LeaseTermsState.RENEWED
    return LeaseChange(lease=record, state=state, release=release, needs_keys=missing)


def _model_terms(model: ModelVersion, release: Release) -> ModelTerms:
    return ModelTerms(
        name=model.name,
        version=model.version,
        core_digest=bytes.fromhex(model.core_digest),
        header_digest=bytes.fromhex(model.signed_digest),
        content_key_id=bytes.fromhex(model.content_key_id),
        min_version=release.min_versions[model.name],
    )
