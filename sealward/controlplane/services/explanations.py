"""Why something was denied: one engine for every denial (docs/specs/explanations.md).

    1. the record: a decision, or an attempt that was refused before one
    2. its findings in order; the first is the cause          domain/explanations.py
    3. what lies near what was found                          nearby.py, domain/nearest.py
    4. when the claim last passed on this node                domain/last_passed.py
    5. what would mend it                                     domain/mends.py

Every reading is allowed by a right, counted against the reader's allowance and in the audit log
before its answer leaves (F26).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from sealward.controlplane.domain.attempts import Attempt
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.decisions import Decision, Outcome
from sealward.controlplane.domain.errors import Code, NotFound, Refused
from sealward.controlplane.domain.explanations import Finding, Source, finding, ordered
from sealward.controlplane.domain.last_passed import LOOK_BACK, LastPassed, Past, last_passed
from sealward.controlplane.domain.mends import mend_of
from sealward.controlplane.domain.nearest import NOTHING_NEAR, Neighbourhood
from sealward.controlplane.domain.nodes import Node, NodeEvidence
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import MAX_PAGE, JsonText, Page
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.allowance import Allowance
from sealward.controlplane.services.authorization import Right, holds, require
from sealward.controlplane.services.nearby import Surroundings
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.wire import json

EXPLAINED_DECISIONS: Final = 10  # enough to see a change of posture and what came before it
READINGS: Final = 60  # at once, of one principal; then one a second

_MAX_STORED_BYTES: Final = 16 * 1024 * 1024  # what was stored was bounded when it was made
_MAX_CORRELATION: Final = 64  # characters

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The top cause of a denial, and what helps to understand it.

    Attributes:
        finding: rule, claim, expected, actual.
        near: reference values in its place.
        events: what the node's event log says of its register.
        passed: when the claim last passed on this node.
        mend: what would mend it; empty where nobody knows.
    """

    finding: Finding
    near: Neighbourhood
    events: tuple[str, ...]
    passed: LastPassed
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One denial, or the record of a decision that denied nothing.

    Attributes:
        correlation_id: what the node was told to quote.
        node_id: whose.
        step: "enroll", "attest", "release", "reappraise" or "revoke".
        outcome: "refused", "pended" or "passed".
        code: what is on record as the reason, in one word.
        at: the instant of the decision or attempt.
        cause: the top cause; None where nothing was denied, or nobody said why.
        others: every other finding, in order.
        passed_since: the next decision that passed; None where there is none.
    """

    correlation_id: str
    node_id: str
    step: str
    outcome: str
    code: str
    at: datetime
    cause: Cause | None
    others: tuple[Finding, ...]
    passed_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeExplanation:
    """Why a node stands where it stands.

    Attributes:
        node: None when it was refused before it became one.
        evidence: its latest.
        why: its newest denial; None where none is on record.
        decisions: newest first.
        attempts: refused before a decision, newest first.
    """

    node: Node | None
    evidence: NodeEvidence | None
    why: Explained | None
    decisions: tuple[Decision, ...]
    attempts: tuple[Attempt, ...]


class Explanations:
    """Use cases around explanations."""

    def __init__(self, on: Dependencies) -> None:
        self._on = on
        self._readings = Allowance(on.clock, burst=READINGS, each_s=1.0)

    def of_node(self, principal: Principal, node_id: str) -> NodeExplanation:
        """Return why a node stands where it stands.

        Raises:
            Refused: forbidden; rate_limited.
            NotFound: node_unknown, when nothing was ever decided or refused about it.
        """

        def read(tx: Transaction) -> NodeExplanation:
            decisions = tx.decisions.latest(node_id, limit=EXPLAINED_DECISIONS)
            attempts = tx.attempts.latest(node_id, limit=EXPLAINED_DECISIONS)
            node = tx.nodes.find(node_id)
            if node is None and not decisions and not attempts:
                raise NotFound(Code.node_unknown, f"nothing is known about node {node_id}")
            denial = _newest_denial(decisions, attempts)
            return NodeExplanation(
                node=node,
                evidence=tx.evidence.find(node_id),
                why=None if denial is None else self._explained(tx, principal, denial),
                decisions=decisions,
                attempts=attempts,
            )

        return self._read(principal, {"node": node_id}, read)

    def of_correlation(self, principal: Principal, correlation_id: str) -> Explained:
        """Return why the request was refused that was answered with this correlation id.

        Raises:
            Refused: forbidden; rate_limited; invalid_request.
            NotFound: not_found.
        """
        if not 0 < len(correlation_id) <= _MAX_CORRELATION or not correlation_id.isalnum():
            raise Refused(Code.invalid_request, "not a correlation id of a node's refusal")

        def read(tx: Transaction) -> Explained:
            record = tx.decisions.correlated(correlation_id) or tx.attempts.correlated(
                correlation_id
            )
            if record is None:
                raise NotFound(
                    Code.not_found,
                    "nothing is recorded under this correlation id",
                    "of failed attempts the newest are kept, of anonymous ones a number a minute;"
                    " the log of the control plane has a line of each",
                )
            return self._explained(tx, principal, record)

        return self._read(principal, {"correlation_id": correlation_id}, read)

    def decisions(
        self, principal: Principal, *, limit: int, after: str | None, node_id: str | None
    ) -> Page[Decision]:
        """List decisions, oldest first, of one node or of all, refused enrollments included.

        Raises:
            Refused: forbidden; rate_limited; invalid_request.
        """
        return self._read(
            principal,
            {"node": node_id, "list": "decisions"},
            lambda tx: tx.decisions.page(limit=limit, after=after, node_id=node_id),
        )

    def _read(self, principal: Principal, body: Body, read: Callable[[Transaction], T]) -> T:
        """Answer from one snapshot, after the reading is in the log."""
        require(principal, Right.node_explain)
        if not self._readings.take(principal.principal_id):
            raise Refused(
                Code.rate_limited,
                f"more than {READINGS} explanations were read at once",
                "read one a second",
            )
        now = self._on.clock.now()
        self._on.database.write(
            lambda tx: self._on.record(tx, AuditKind.explanation_read, body, by=principal, now=now)
        )
        return self._on.database.read(read)

    def _explained(
        self, tx: Transaction, principal: Principal, record: Decision | Attempt
    ) -> Explained:
        if isinstance(record, Attempt):
            return self._of_attempt(tx, record)
        findings = findings_of(record)
        denied = is_denial(record, findings)
        causes = findings if denied else ()
        around = self._surroundings(tx, principal, record)
        return Explained(
            correlation_id=record.correlation_id,
            node_id=record.node_id,
            step=record.kind.value,
            outcome=record.outcome.value,
            code=record.code,
            at=record.decided,
            cause=_cause(tx, causes[0], record, around) if causes else None,
            others=findings[1:] if causes else findings,
            passed_since=_passed_since(tx, record.node_id, record.decided) if denied else None,
        )

    def _of_attempt(self, tx: Transaction, attempt: Attempt) -> Explained:
        return Explained(
            correlation_id=attempt.correlation_id,
            node_id=attempt.node_id,
            step=attempt.call.value,
            outcome=Outcome.refused.value,
            code=attempt.code,
            at=attempt.at,
            cause=_cause_of_attempt(tx, attempt),
            others=(),
            passed_since=_passed_since(tx, attempt.node_id, attempt.at),
        )

    def _surroundings(
        self, tx: Transaction, principal: Principal, decision: Decision
    ) -> Surroundings:
        readable = holds(principal, Right.reference_read)
        return Surroundings(
            tx=tx,
            claims=_claims_of(tx, decision),
            now=self._on.clock.now(),
            readable=lambda _set: readable,
        )


def findings_of(decision: Decision) -> tuple[Finding, ...]:
    """Return what a decision recorded as reasons, the top cause first."""
    reasons = _decoded(decision.reasons)
    listed = reasons if isinstance(reasons, list) else []
    return ordered(finding(one) for one in listed if isinstance(one, dict))


def finding_of_attempt(attempt: Attempt) -> Finding:
    """Return what an attempt was refused for."""
    reason = _decoded(attempt.reason)
    return finding(reason if isinstance(reason, dict) else {}, refusal=True)


def is_denial(decision: Decision, findings: Iterable[Finding]) -> bool:
    """Tell whether a decision denied anything: the node, or a workload that it asked for."""
    return decision.outcome is not Outcome.passed or any(f.workload for f in findings)


def _cause(tx: Transaction, one: Finding, decision: Decision, around: Surroundings) -> Cause:
    past = tuple(_past(before) for before in tx.decisions.before(decision, limit=LOOK_BACK))
    leased = None if one.workload is None else _leased(tx, decision.node_id, one.workload)
    return Cause(
        finding=one,
        near=around.near(one),
        events=around.events(one),
        passed=last_passed(one, past, leased=leased),
        mend=_mend(one),
    )


def _cause_of_attempt(tx: Transaction, attempt: Attempt) -> Cause:
    one = finding_of_attempt(attempt)
    latest = tx.decisions.latest(attempt.node_id, limit=LOOK_BACK)
    past = tuple(_past(before) for before in latest if before.decided <= attempt.at)
    return Cause(
        finding=one,
        near=NOTHING_NEAR,
        events=(),
        passed=last_passed(one, past),
        mend=_mend(one),
    )


def _mend(one: Finding) -> str:
    """Return a policy's own hint, our own sentence for our own codes, or what the verifier adds."""
    ours = mend_of(one.code)
    # Of verdicts and hard rules the recorded hint says only that no policy lifts them.
    rigid = one.source in (Source.verdict, Source.control_plane)
    return (ours or one.hint) if rigid else (one.hint or ours)


def _past(decision: Decision) -> Past:
    return Past(decision.decided, decision.kind, findings_of(decision))


def _leased(tx: Transaction, node_id: str, workload: str) -> datetime | None:
    leases = tx.leases.page(limit=MAX_PAGE, node_id=node_id, workload=workload).items
    return max((lease.granted for lease in leases), default=None)


def _passed_since(tx: Transaction, node_id: str, then: datetime) -> datetime | None:
    later = [
        d.decided
        for d in tx.decisions.latest(node_id, limit=LOOK_BACK)
        if d.decided > then and not is_denial(d, findings_of(d))
    ]
    return min(later, default=None)


def _claims_of(tx: Transaction, decision: Decision) -> Mapping[str, json.Value]:
    """Return the claims that a decision appraised, if they are still kept; else none."""
    evidence = tx.evidence.find(decision.node_id)
    inputs = _decoded(decision.input_digests)
    digest = inputs.get("evidence") if isinstance(inputs, dict) else None
    # A reappraisal names no evidence: it is of what is recorded.
    if evidence is None or digest not in (None, evidence.evidence_digest):
        return {}
    claims = _decoded(evidence.claims)
    return claims if isinstance(claims, dict) else {}


def _newest_denial(
    decisions: Iterable[Decision], attempts: Iterable[Attempt]
) -> Decision | Attempt | None:
    denials: list[tuple[datetime, Decision | Attempt]] = [
        (d.decided, d) for d in decisions if is_denial(d, findings_of(d))
    ]
    denials += [(attempt.at, attempt) for attempt in attempts]
    return max(denials, key=lambda pair: pair[0])[1] if denials else None


def _decoded(text: JsonText) -> json.Value:
    return json.decode(text, what="stored record", max_bytes=_MAX_STORED_BYTES)
