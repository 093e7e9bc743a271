"""Sweeps: what a fence has made ungrantable is ended, node by node (blueprint 4.6, F16, F17).

A sweep may only lower: it re-appraises *recorded* claims under the state of now, ends leases that
would not be granted any more, and pushes signed revocations. Raising a posture needs fresh
evidence. It is
resumable: its cursor is stored after every page, and visiting a node twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import Final, cast

import structlog

from sealward.controlplane.domain import audit, fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.decisions import DecisionKind, Outcome
from sealward.controlplane.domain.errors import Code, Conflict, Unavailable
from sealward.controlplane.domain.leases import Bounded, Lease, Open
from sealward.controlplane.domain.nodes import FailureClass, Node, NodeEvidence, NodeState
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.records import MAX_PAGE, RandomBytes
from sealward.controlplane.domain.sweeps import Sweep, SweepState
from sealward.controlplane.services import lease_ledger
from sealward.controlplane.services.appraisal import Appraised, Appraiser, Subject
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.collateral_view import MATCH_KIND
from sealward.controlplane.services.decision_record import Record, append_decision
from sealward.controlplane.services.facts import AppraisalFacts, read_appraisal_facts
from sealward.controlplane.services.lease_ledger import LeaseChange
from sealward.controlplane.services.policy_book import PolicyBook
from sealward.controlplane.services.ports import Clock, Database, Transaction
from sealward.controlplane.services.recorded import Recorded, recorded
from sealward.controlplane.services.release import Case, ReleaseFacts, Releaser
from sealward.controlplane.services.reverification import Again, Reverifier
from sealward.controlplane.services.runtime_logs import MatchableLog, RuntimeLogs
from sealward.controlplane.services.terms_issuer import TermsIssuer
from sealward.controlplane.services.tpm_nodes import PLATFORM_PREFIX
from sealward.protos.terms import TermsKind
from sealward.verifier.rats.errors import Code as VerifierCode
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.result import Posture, VerdictCode
from sealward.verifier.wire import json

_PAGE: Final = 64  # nodes between two stored cursors
_ATTEMPTS: Final = 8  # a node that attests, or a fence that moves, while we look at it

_COLLATERAL: Final = f"{fences.COLLATERAL}/"

UNREADABLE: Final = "record_unreadable"

_log = structlog.get_logger(__name__)


class _Visit(Enum):
    """What became of one node in one turn of a sweep."""

    LOWERED = auto()
    UNCHANGED = auto()
    UNSETTLED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A node as one snapshot shows it; `again` when its evidence was verified anew for this."""

    node: Node
    record: Recorded
    again: Again | None
    appraisal: AppraisalFacts
    release: ReleaseFacts
    lapsed: tuple[Lease, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Runs sweeps of one tenant.

    Attributes:
        ring: told of every node whose signed terms changed.
    """

    database: Database
    clock: Clock
    random_bytes: RandomBytes
    book: PolicyBook
    appraiser: Appraiser
    releaser: Releaser
    issuer: TermsIssuer
    runtime_logs: RuntimeLogs
    reverifier: Reverifier
    ring: Callable[[str], None]

    def run(self) -> int:
        """Visit every node of every unfinished sweep; return how many nodes lost something.

        Sweeps of single nodes come first: a quarantine does not wait behind a policy change.
        """
        running = self.database.read(lambda tx: tx.sweeps.running())
        ordered = sorted(running, key=lambda sweep: not sweep.scope.startswith("node/"))
        return sum(self._sweep(sweep) for sweep in ordered)

    def _sweep(self, sweep: Sweep) -> int:
        cause = cast("dict[str, str]", json.decode(sweep.cause, what="cause", max_bytes=65_536))
        affected, unsettled = sweep.affected, 0
        for page, after in self._pages(sweep, cause):
            outcomes = [self._visit(node_id, sweep, cause) for node_id in page]
            affected += outcomes.count(_Visit.LOWERED)
            unsettled += outcomes.count(_Visit.UNSETTLED)
            if not unsettled and after is not None:
                progress = replace(sweep, cursor=after, affected=affected)
                self.database.write(lambda tx: tx.sweeps.save(progress))  # noqa: B023 - runs at once
        if unsettled:
            # It stays unfinished and begins behind its last settled page again at the next turn.
            _log.warning("sweep left unfinished", scope=sweep.scope, unsettled=unsettled)
        else:
            self._finish(sweep, affected)
        return affected - sweep.affected

    def _pages(
        self, sweep: Sweep, cause: dict[str, str]
    ) -> Iterator[tuple[tuple[str, ...], str | None]]:
        """Yield pages of nodes, each with the cursor of the next; None after the last."""
        after = sweep.cursor
        while True:
            page, after = self.database.read(lambda tx: _nodes(tx, sweep, cause, after))  # noqa: B023 - runs at once
            if page:
                yield page, after
            if after is None:
                return

    def _finish(self, sweep: Sweep, affected: int) -> None:
        now = self.clock.now()
        body: dict[str, json.Canonical] = {
            "sweep": sweep.sweep_id,
            "scope": sweep.scope,
            "affected": affected,
        }

        def write(tx: Transaction) -> None:
            tx.sweeps.save(replace(sweep, state=SweepState.done, done=now, affected=affected))
            tx.audit.append(
                audit.entry(
                    AuditKind.sweep_done,
                    body,
                    now=now,
                    random_bytes=self.random_bytes,
                    tenant=tx.tenant,
                )
            )

        self.database.write(write)
        _log.info("sweep done", scope=sweep.scope, affected=affected)

    def _visit(self, node_id: str, sweep: Sweep, cause: dict[str, str]) -> _Visit:
        """Lower one node; a node that cannot be settled now never keeps the others waiting."""
        for _ in range(_ATTEMPTS):
            try:
                lowered = self._lower(node_id, sweep, cause)
            except Conflict as conflict:
                if conflict.code not in {Code.epoch_moved, Code.state_changed}:
                    raise
            except Unavailable as error:
                _log.warning("node not swept yet", node=node_id, code=error.code)
                return _Visit.UNSETTLED
            else:
                return _Visit.LOWERED if lowered else _Visit.UNCHANGED
        return _Visit.UNSETTLED

    def _lower(self, node_id: str, sweep: Sweep, cause: dict[str, str]) -> bool:
        now = self.clock.now()
        again = self._again(node_id, sweep, now)
        seen = self.database.read(lambda tx: self._see(tx, node_id, sweep, again, now))
        if seen is None:
            return False
        appraised = self._appraise(seen, now)
        after = _lowered(seen.node, appraised)
        changes = self._ended(seen, appraised, after, cause, now)
        changes += _exposed(seen, appraised, cause)
        if not changes and after == seen.node:
            return False
        self._commit(seen, appraised, after, changes, now)
        self.ring(node_id)
        return True

    def _again(self, node_id: str, sweep: Sweep, now: datetime) -> Again | None:
        """Verify a node's evidence with the collateral of now, where that is the sweep's cause.

        Before the snapshot, because it may read the database itself.
        """
        if not sweep.scope.startswith(_COLLATERAL):
            return None
        evidence = self.database.read(lambda tx: tx.evidence.find(node_id))
        return None if evidence is None else self.reverifier.again(evidence, now)

    def _appraise(self, seen: _Seen, now: datetime) -> Appraised:
        appraised = self.appraiser.appraise(
            seen.appraisal,
            seen.appraisal.claims,
            Subject.of(seen.node),
            verdicts=seen.record.verdicts,
            now=now,
        )
        if seen.again is not None and seen.again.refusal is not None:
            return replace(
                appraised,
                posture=Posture.NONCOMPLIANT,
                code=seen.again.refusal.code.value,
                failure=_failure_of(seen.again.refusal.code),
                reasons=(seen.again.reason(), *appraised.reasons),
            )
        if seen.record.readable:
            return appraised
        _log.error("recorded claims cannot be read", node=seen.node.node_id)
        return replace(
            appraised,
            posture=Posture.STALE,
            code=UNREADABLE,
            failure=FailureClass.freshness,
        )

    def _see(
        self, tx: Transaction, node_id: str, sweep: Sweep, again: Again | None, now: datetime
    ) -> _Seen | None:
        node = tx.nodes.find(node_id)
        evidence = tx.evidence.find(node_id)
        if node is None or evidence is None:
            return None
        record, log = self._recorded(tx, evidence)
        if again is not None:
            if again.evidence_digest != evidence.evidence_digest:
                raise Conflict(Code.state_changed, "the node attested meanwhile")
            if again.claims is not None:
                record = Recorded(again.claims, again.verdicts, readable=True)
        active = tx.leases.active_of_node(node_id)
        scopes = {fences.policy(PolicyKind.RELEASE), fences.node(node_id), sweep.scope}
        scopes |= {fences.workload(lease.workload) for lease in active}
        facts = read_appraisal_facts(
            tx, self.book, record.claims, log, more_scopes=scopes, now=now, holder=node_id
        )
        workloads = [lease.workload for lease in active]
        release = self.releaser.read(tx, node, workloads, facts.epochs, now)
        lapsed = tx.leases.page(limit=MAX_PAGE, node_id=node_id, active=False).items
        return _Seen(
            node=node,
            record=record,
            again=again,
            appraisal=facts,
            release=release,
            lapsed=lapsed,
        )

    def _recorded(
        self, tx: Transaction, evidence: NodeEvidence
    ) -> tuple[Recorded, MatchableLog | None]:
        """Return what is on record, and the runtime log that it tells of, to be matched anew."""
        record = recorded(evidence)
        try:
            return record, self.runtime_logs.recorded(tx, evidence.node_id, record.claims)
        except MalformedEvidence:
            return Recorded(ClaimsDocument.empty(), (), readable=False), None

    def _ended(
        self,
        seen: _Seen,
        appraised: Appraised,
        after: Node,
        cause: dict[str, str],
        now: datetime,
    ) -> tuple[LeaseChange, ...]:
        """Return the end of every lease that would not be granted any more."""
        if not after.posture.passing or after.state is not NodeState.admitted:
            code = after.posture_code or f"node_{after.state}"
            return tuple(
                _end(lease, code, after.failure_class, now) for lease in seen.release.active
            )
        released = self.releaser.release(
            seen.release,
            Case(
                node=seen.node,
                appraised=replace(appraised, posture=after.posture),  # never better than recorded
                claims=seen.appraisal.claims,
                reference=seen.appraisal.reference,
                limits=seen.appraisal.reference.limits,
                challenge_issued=now,  # this decides whether, never until when
                now=now,
            ),
        )
        refused = {denial.workload: denial.code for denial in released.denials}
        ends = []
        for lease in seen.release.active:
            leased = seen.release.leased_models[lease.lease_id]
            if lease.workload in refused:
                why = refused[lease.workload]
                if why == Code.posture_noncompliant and after.posture is not seen.node.posture:
                    why = after.posture_code
                ends.append(_end(lease, why, appraised.failure, now))
            elif leased - seen.release.workloads[lease.workload].active_keys:
                ends.append(_end(lease, cause.get("code", "model_withdrawn"), None, now))
        return tuple(ends)

    def _commit(
        self,
        seen: _Seen,
        appraised: Appraised,
        after: Node,
        changes: tuple[LeaseChange, ...],
        now: datetime,
    ) -> None:
        record = Record.of(
            kind=DecisionKind.reappraise,
            audit_kind=AuditKind.node_reappraised,
            node_id=seen.node.node_id,
            outcome=Outcome.refused,
            code=_code(seen.node, after, changes),
            appraised=replace(appraised, posture=after.posture),
            bound=None,
            facts=seen.appraisal,
            leases=changes,
            correlation_id="",
            now=now,
            random_bytes=self.random_bytes,
        )

        def write(tx: Transaction) -> None:
            tx.epochs.require(
                {**seen.appraisal.epochs, **({} if seen.again is None else seen.again.epochs)}
            )
            if tx.nodes.get(seen.node.node_id) != seen.node:
                raise Conflict(Code.state_changed, "the node attested meanwhile")
            if tx.leases.active_of_node(seen.node.node_id) != seen.release.active:
                raise Conflict(Code.state_changed, "a lease of this node ended meanwhile")
            # Told by what was active: one that lapsed this very millisecond is only exposed.
            active = {lease.lease_id for lease in seen.release.active}
            ended = tuple(c for c in changes if c.lease.lease_id in active)
            if ended:
                issued = self.issuer.issue(
                    tx,
                    node_id=seen.node.node_id,
                    sequence=tx.nodes.next_terms_sequence(seen.node.node_id),
                    kind=TermsKind.REVOCATION,
                    challenge=None,
                    leases=tuple(lease_ledger.lease_terms(c, received=now) for c in ended),
                    policies=appraised.policies,
                    log_leaf=record.entry.leaf_hash,
                    now=now,
                )
                lease_ledger.apply(tx, seen.release.active, ended, sequence=issued.sequence)
            for change in changes:
                if change not in ended:
                    tx.leases.save(change.lease)
            tx.nodes.save(after)
            append_decision(tx, record)

        self.database.write(write)


def _failure_of(code: VerifierCode) -> FailureClass:
    """Return what evidence that does not verify any more says of the keys that it got.

    Whose vendor has revoked the key that signed may never have been who it said.
    """
    if code is VerifierCode.CERTIFICATE_REVOKED:
        return FailureClass.integrity
    return FailureClass.collateral


def _nodes(
    tx: Transaction, sweep: Sweep, cause: dict[str, str], after: str | None
) -> tuple[tuple[str, ...], str | None]:
    """Return one page of the nodes that a sweep concerns, and where the next page begins."""
    if sweep.scope.startswith("node/"):
        return (sweep.scope.removeprefix("node/"),), None
    rests_on = _rests_on(sweep, cause)
    if rests_on is not None:
        matching = tx.evidence.matching(*rests_on, limit=_PAGE, after=after)
        return matching.items, matching.after
    # The anchor of one instance's key is that of one platform.
    if sweep.scope == fences.PLATFORM or (
        sweep.scope == fences.TRUST_ANCHOR and "platform" in cause
    ):
        on_platform = tx.nodes.on_platform(cause["platform"], limit=_PAGE, after=after)
        return on_platform.items, on_platform.after
    if sweep.scope == fences.TRUST_ANCHOR:
        tpm_nodes = tx.nodes.on_platforms(PLATFORM_PREFIX, limit=_PAGE, after=after)
        return tpm_nodes.items, tpm_nodes.after
    if sweep.scope.startswith("workload/"):
        workload = sweep.scope.removeprefix("workload/")
        holders = sorted(node for node in _holders(tx, workload) if node > (after or ""))
        page = tuple(holders[:_PAGE])
        return page, page[-1] if len(holders) > _PAGE else None
    # Distrust speaks of what hardware was worth all along: retired nodes held keys on it too.
    everyone = tx.nodes.page(
        limit=_PAGE,
        after=after,
        state=None if cause.get("code") == VerdictCode.DISTRUSTED else NodeState.admitted,
    )
    return tuple(node.node_id for node in everyone.items), everyone.after


def _rests_on(sweep: Sweep, cause: dict[str, str]) -> tuple[str, str] | None:
    """Return what the nodes of a sweep rest on, as the index of evidence names it; None for any."""
    if sweep.scope.startswith(_COLLATERAL):
        return MATCH_KIND, sweep.scope.removeprefix(_COLLATERAL)
    if sweep.scope == fences.REFERENCE and "key" in cause:
        return cause["kind"], cause["key"]
    return None


def _holders(tx: Transaction, workload: str) -> set[str]:
    """Return every node with an active lease of a workload: the list goes by lease, not by node."""
    holders: set[str] = set()
    after: str | None = None
    while True:
        leases = tx.leases.page(limit=MAX_PAGE, after=after, workload=workload, active=True)
        holders |= {lease.node_id for lease in leases.items}
        after = leases.after
        if after is None:
            return holders


def _lowered(node: Node, appraised: Appraised) -> Node:
    """Return the node with the worse of its posture and the new appraisal (F17)."""
    if node.quarantined is not None or not node.posture.passing:
        return node
    if appraised.posture in (Posture.COMPLIANT, node.posture):
        return node
    return replace(
        node,
        posture=appraised.posture,
        posture_code=appraised.code,
        failure_class=appraised.failure,
    )


def _code(before: Node, after: Node, changes: tuple[LeaseChange, ...]) -> str:
    """Return why a node lost something: its posture, or else the first lease that ended."""
    if changes and after.posture is before.posture and after.posture.passing:
        return changes[0].lease.end_cause
    return after.posture_code


def _exposed(seen: _Seen, appraised: Appraised, cause: dict[str, str]) -> tuple[LeaseChange, ...]:
    """Return leases that ended before their code stopped being believed: they are exposed too."""
    if appraised.failure is None or not appraised.failure.exposes:
        return ()
    reason = cause.get("code", appraised.code)
    return tuple(
        lease_ledger.exposed(lease, Open(reason=reason))
        for lease in seen.lapsed
        if isinstance(lease.exposure, Bounded)
    )


def _end(lease: Lease, code: str, failure: FailureClass | None, now: datetime) -> LeaseChange:
    exposure = lease_ledger.exposure_after(lease, failure=failure, cause=code)
    return lease_ledger.ended(lease, cause=code, exposure=exposure, now=now)
