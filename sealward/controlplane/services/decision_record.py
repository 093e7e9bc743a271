"""Recording a decision.

The row, its audit entry and the digests of everything that decided (blueprint 4.7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sealward.controlplane.domain import audit
from sealward.controlplane.domain.audit import AuditEntry, AuditKind
from sealward.controlplane.domain.decisions import Decision, DecisionKind, Outcome
from sealward.controlplane.domain.nodes import NodeEvidence
from sealward.controlplane.domain.records import JsonText, RandomBytes, new_id, unix_ms
from sealward.controlplane.services.appraisal import Appraised
from sealward.controlplane.services.evidence import BoundEvidence
from sealward.controlplane.services.facts import AppraisalFacts
from sealward.controlplane.services.lease_ledger import LeaseChange
from sealward.controlplane.services.ports import Transaction
from sealward.controlplane.services.release import WorkloadDenial
from sealward.verifier.wire import json


@dataclass(frozen=True, slots=True)
class Record:
    """A decision and the audit entry that commits to it."""

    decision: Decision
    entry: AuditEntry

    @classmethod
    def of(
        cls,
        *,
        kind: DecisionKind,
        audit_kind: AuditKind,
        node_id: str,
        outcome: Outcome | None = None,
        code: str | None = None,
        appraised: Appraised,
        bound: BoundEvidence | None,
        facts: AppraisalFacts,
        extra_reasons: tuple[Mapping[str, json.Canonical], ...] = (),
        leases: tuple[LeaseChange, ...] = (),
        denials: tuple[WorkloadDenial, ...] = (),
        more_policies: Mapping[str, bytes] | None = None,
        correlation_id: str,
        now: datetime,
        random_bytes: RandomBytes,
    ) -> Self:
        """Return what is to be stored; nothing is stored yet.

        `outcome` and `code` default to what the posture says.
        """
        outcome = outcome or (Outcome.passed if appraised.posture.passing else Outcome.refused)
        code = appraised.code if code is None else code
        reasons = [
            *appraised.reasons,
            *extra_reasons,
            *(reason for denial in denials for reason in denial.reasons),
        ]
        inputs = _inputs({**appraised.policies, **(more_policies or {})}, bound, facts)
        entry = audit.entry(
            audit_kind,
            {
                "node": node_id,
                "outcome": outcome.value,
                "code": code,
                "posture": appraised.posture.value,
                "trust_vector": appraised.vectors(),
                "development": appraised.development,
                "reasons": reasons,
                "inputs": inputs,
                "leases": [_lease(change) for change in leases],
                "refused": [{"workload": d.workload, "code": d.code} for d in denials],
                "correlation_id": correlation_id,
            },
            now=now,
            random_bytes=random_bytes,
        )
        decision = Decision(
            decision_id=new_id(now, random_bytes),
            node_id=node_id,
            kind=kind,
            outcome=outcome,
            code=code,
            posture=appraised.posture,
            trust_vector=_text(appraised.vectors()),
            reasons=_text(reasons),
            input_digests=_text(inputs),
            correlation_id=correlation_id,
            decided=now,
            entry_id=entry.entry_id,
        )
        return cls(decision=decision, entry=entry)


def append_decision(tx: Transaction, record: Record) -> None:
    """Store a record in the deciding transaction."""
    tx.decisions.add(record.decision)
    tx.audit.append(record.entry)


def latest_evidence(
    node_id: str, bound: BoundEvidence, facts: AppraisalFacts, appraised: Appraised
) -> NodeEvidence:
    """Return what is kept of a node, to lower its posture later without asking it (F17)."""
    claims = JsonText(facts.claims.encoded.decode())
    return NodeEvidence(
        node_id=node_id,
        cmw=bound.evidence,
        evidence_digest=bound.evidence_digest,
        claims=claims,
        claims_digest=hashlib.sha256(facts.claims.encoded).hexdigest(),
        verifier_build=bound.authenticated.verifier_build,
        anchors_digest=bound.authenticated.anchors_digest,
        as_of=bound.challenge.issued,
        posture=appraised.posture,
        trust_vector=_text(appraised.vectors()),
        reasons=_text(list(appraised.reasons)),
        matches=(*facts.reference.matches, *bound.collateral),
    )


def _inputs(
    policies: Mapping[str, bytes], bound: BoundEvidence | None, facts: AppraisalFacts
) -> dict[str, json.Canonical]:
    inputs: dict[str, json.Canonical] = {
        f"policy:{name}": digest.hex() for name, digest in policies.items()
    }
    inputs["reference"] = facts.reference.digest
    inputs["epochs"] = dict(facts.epochs)
    if bound is not None:
        inputs["evidence"] = bound.evidence_digest
        inputs["verifier"] = bound.authenticated.verifier_build
        inputs["anchors"] = bound.authenticated.anchors_digest
        inputs["challenge"] = bound.challenge.nonce_hash
    return inputs


def _lease(change: LeaseChange) -> dict[str, json.Canonical]:
    lease = change.lease
    return {
        "lease": lease.lease_id,
        "workload": lease.workload,
        "state": change.state.name.lower(),
        "not_after": unix_ms(lease.not_after),
        "cause": lease.end_cause or lease.horizon_cause,
        "content_keys": [
            model.content_key_id for model in (change.release.models if change.release else ())
        ],
    }


def _text(value: json.Canonical) -> JsonText:
    return JsonText(json.canonical(value).decode())
