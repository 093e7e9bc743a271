"""Attest, appraise, lease.

One call of a node, one decision, one transaction (blueprint 4.2 to 4.5).

    1. the challenge is ours, in date and meant for this key        evidence.py
    2. the binding is for this call and this connection             evidence.py
    3. the evidence is authentic and carries the binding            verifier
    4. the instance is the one that enrolled, and its ratchet fits  here, ratchet.py
    5. appraisal policies answer; verifier verdicts cap them        appraisal.py
    6. release policies answer for each workload asked for          release.py
    7. fences unmoved, challenge spent, terms signed, all recorded  here, in one commit
    8. only then content keys are wrapped for the node              release_core.py

Steps 1 to 6 change nothing. If the process dies before 7, nothing happened; after it, the decision
is durable and the agent asks again: keys of leases that it does not hold are wrapped anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.attempts import AttemptCall
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.challenge import Challenge
from sealward.controlplane.domain.decisions import Decision, DecisionKind
from sealward.controlplane.domain.errors import Code, Conflict, DomainError, Refused
from sealward.controlplane.domain.horizon import Limit
from sealward.controlplane.domain.leases import Lease
from sealward.controlplane.domain.nodes import FailureClass, Node, NodeEvidence
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.services import admitted, devices, inputs, lease_ledger, ratchet
from sealward.controlplane.services.administration import Wake
from sealward.controlplane.services.appraisal import Appraised, Appraiser, Subject
from sealward.controlplane.services.attempts import Attempts
from sealward.controlplane.services.attestation_call import AttestAnswer, AttestCall
from sealward.controlplane.services.attestation_results import (
    Finding,
    ResultIssuer,
    result_end,
)
from sealward.controlplane.services.decision_record import Record, append_decision, latest_evidence
from sealward.controlplane.services.evidence import (
    BoundEvidence,
    EvidenceGate,
    spend_after,
)
from sealward.controlplane.services.facts import AppraisalFacts, epoch_digest, read_appraisal_facts
from sealward.controlplane.services.lease_ledger import LeaseChange
from sealward.controlplane.services.node_certificates import NodeCertificate, NodeCertificates
from sealward.controlplane.services.policy_book import PolicyBook
from sealward.controlplane.services.ports import Clock, Database, Keystore, Transaction
from sealward.controlplane.services.ratchet import RatchetStep
from sealward.controlplane.services.release import (
    Case,
    Released,
    ReleaseFacts,
    Releaser,
    WorkloadDenial,
    unopened,
)
from sealward.controlplane.services.release_core import (
    AnswerLock,
    ReleaseCore,
    SendableKey,
    seal_content_keys,
    seal_ratchet,
)
from sealward.controlplane.services.revocation import fence
from sealward.controlplane.services.runtime_logs import keep
from sealward.controlplane.services.terms_issuer import IssuedTerms, TermsIssuer
from sealward.protos.terms import LeaseTermsState, TermsKind
from sealward.sealing.memory import wipe
from sealward.verifier.rats.binding import thumbprint
from sealward.verifier.rats.claims import Tee
from sealward.verifier.rats.result import Posture

# Two holders of one instance: of its ratchet, or of its key. One of them is not who it says.
_STOLEN: Final = frozenset((Code.clone_detected, Code.instance_changed))
_TPMS: Final = frozenset((Tee.TPM, Tee.GOOGLE_VTPM))  # alone: nothing encrypts the memory
_ATTEMPTS: Final = 4  # a fence that moves more often than this during one call is an outage of ours
MAX_WORKLOADS: Final = 16  # asked for in one call
RENEW_AT: Final = 0.8  # of the horizon (blueprint 4.5); the listener adds jitter
IDLE_RENEWAL_MS: Final = 60_000  # a node without leases still shows its posture once a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class _Committed:
    """What a commit left behind."""

    issued: IssuedTerms
    decision: Decision
    evidence: NodeEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    """Everything that was worked out before the commit."""

    node: Node
    hpke_public: bytes  # what this evidence binds, not what an earlier one did
    facts: AppraisalFacts
    active: tuple[Lease, ...]
    appraised: Appraised
    changes: tuple[LeaseChange, ...]
    denials: tuple[WorkloadDenial, ...]
    step: RatchetStep
    content_keys: Mapping[str, bytearray]  # by content key id; wiped after the answer
    certificate: NodeCertificate | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationService:
    """Decides attestations of admitted nodes."""

    database: Database
    keystore: Keystore
    clock: Clock
    random_bytes: RandomBytes
    gate: EvidenceGate
    book: PolicyBook
    appraiser: Appraiser
    releaser: Releaser
    core: ReleaseCore
    issuer: TermsIssuer
    certificates: NodeCertificates
    results: ResultIssuer
    attempts: Attempts
    wake: Wake

    def attest(self, call: AttestCall) -> AttestAnswer:
        """Decide one attestation.

        Raises:
            Refused: with a code of its own for each reason; the challenge is spent all the same.
            Conflict: a fence moved at every attempt.
        """
        if len(call.workloads) > MAX_WORKLOADS:
            raise Refused(Code.invalid_request, f"more than {MAX_WORKLOADS} workloads asked for")
        for workload in call.workloads:
            inputs.name(workload, "a workload asked for")
        if call.result is not None:
            call.result.require_valid()
        who = (AttemptCall.attest, call.presented.tls_spki, call.correlation_id)
        with self.attempts.kept(self.database, *who):
            challenge = self.gate.open_challenge(call.presented)
        try:
            return self._decide(call, challenge)
        except Exception as error:
            spend_after(error, self.database, challenge, self.attempts.note(error, *who))
            if isinstance(error, DomainError) and error.code in _STOLEN:
                self._quarantine(call, error)
            raise

    def _decide(self, call: AttestCall, challenge: Challenge) -> AttestAnswer:
        who = thumbprint(call.presented.tls_spki).hex()
        for attempt in range(1, _ATTEMPTS + 1):
            # Each time: what evidence is verified under may be what has moved.
            bound = self.gate.authenticate(
                call.presented, challenge, known=admitted.is_admitted(who)
            )
            evaluation = self._evaluate(call, bound)
            try:
                committed = self._commit(call, bound, evaluation)
                return self._answer(call, bound, evaluation, committed)
            except Conflict as conflict:
                moved = conflict.code in {Code.epoch_moved, Code.state_changed}
                if not moved or attempt == _ATTEMPTS:
                    raise
            finally:
                for key in evaluation.content_keys.values():
                    wipe(key)
        raise AssertionError("unreachable: the last attempt returns or raises")

    # Steps 4 to 6: nothing is changed.

    def _evaluate(self, call: AttestCall, bound: BoundEvidence) -> _Evaluation:
        now = self.clock.now()
        node_id = thumbprint(call.presented.tls_spki).hex()
        authentic = bound.authenticated.claims

        def read(tx: Transaction) -> tuple[Node, AppraisalFacts, ReleaseFacts]:
            node = admitted.require_admitted(tx.nodes.get(node_id))
            scopes = [fences.node(node_id), fences.policy(PolicyKind.RELEASE)]
            scopes += [fences.workload(name) for name in call.workloads]
            facts = read_appraisal_facts(
                *(tx, self.book, bound.claims, bound.measured),
                more_scopes=scopes,
                now=now,
                holder=node_id,
            )
            return node, facts, self.releaser.read(tx, node, call.workloads, facts.epochs, now)

        node, facts, release_facts = self.database.read(read)
        admitted.require_same_instance(node, authentic)
        step = ratchet.step(self.keystore, node, bound.binding)
        appraised = self.appraiser.appraise(
            facts, facts.claims, Subject.of(node), verdicts=authentic.verdicts, now=now
        )
        certificate = self.certificates.renewed(
            call.presented.tls_spki, node_id, not_after=call.certificate_not_after, now=now
        )
        released = self.releaser.release(
            release_facts,
            Case(
                node=node,
                appraised=appraised,
                claims=facts.claims,
                reference=facts.reference,
                limits=_limits(call, bound, facts, certificate),
                challenge_issued=bound.challenge.issued,
                now=now,
                unlocked=authentic.tee in _TPMS and bound.authenticated.lock is None,
            ),
        )
        held = frozenset(lease.hex() for lease in bound.binding.statement.held_leases)
        openable, keys = self._open_keys(released, release_facts, held=held, now=now)
        changes = lease_ledger.change_leases(
            node_id=node_id,
            active=release_facts.active,
            releases=openable.releases,
            end_causes={
                denial.workload: appraised.cause(denial.code, before=node.posture)
                for denial in openable.denials
            },
            held=held,
            leased_models=release_facts.leased_models,
            failure=appraised.failure,
            challenge_issued=bound.challenge.issued,
            now=now,
            epoch_digest=epoch_digest(facts.epochs),
            random_bytes=self.random_bytes,
        )
        return _Evaluation(
            node=node,
            hpke_public=bound.hpke_public,
            facts=facts,
            active=release_facts.active,
            appraised=appraised,
            changes=changes,
            denials=openable.denials,
            step=step,
            content_keys=keys,
            certificate=certificate,
            now=now,
        )

    def _open_keys(
        self, released: Released, facts: ReleaseFacts, *, held: frozenset[str], now: datetime
    ) -> tuple[Released, dict[str, bytearray]]:
        """Open the content keys that may travel; a workload whose keys do not open is refused.

        Before the commit, so that a lease is never granted whose key cannot be opened. Keys that
        a node carries already are not opened: no key moves on a renewal.
        """
        releases, denials = [], [*released.denials]
        keys: dict[str, bytearray] = {}
        carried = lease_ledger.carried_keys(facts.active, facts.leased_models, held=held, now=now)
        for release in released.releases:
            wanted = {m.content_key_id for m in release.models}
            needed = wanted - carried.get(release.workload, frozenset())
            try:
                for model in release.models:
                    if needed:
                        key = self.core.content_key(model, facts.keys[model.workload])
                        keys[model.content_key_id] = key
                releases.append(release)
            except Refused as refusal:
                denials.append(unopened(release.workload, refusal))
        return Released(tuple(releases), tuple(denials)), keys

    # Step 7: all or nothing.

    def _commit(
        self, call: AttestCall, bound: BoundEvidence, evaluation: _Evaluation
    ) -> _Committed:
        record = Record.of(
            kind=DecisionKind.attest,
            audit_kind=AuditKind.node_attested,
            node_id=evaluation.node.node_id,
            appraised=evaluation.appraised,
            bound=bound,
            facts=evaluation.facts,
            leases=evaluation.changes,
            denials=evaluation.denials,
            correlation_id=call.correlation_id,
            now=evaluation.now,
            random_bytes=self.random_bytes,
        )

        evidence = latest_evidence(
            evaluation.node.node_id, bound, evaluation.facts, evaluation.appraised
        )

        after = _after(evaluation.node, evaluation, bound, call)

        def write(tx: Transaction) -> IssuedTerms:
            # The node's own fence is among them: it is admitted and not quarantined still.
            tx.epochs.require({**evaluation.facts.epochs, **bound.epochs})
            tx.challenges.spend(bound.challenge.nonce_hash, bound.challenge.expires)
            sequence = tx.nodes.attested(after)
            issued = self.issuer.issue(
                tx,
                node_id=after.node_id,
                sequence=sequence,
                kind=TermsKind.GRANT,
                challenge=bytes.fromhex(bound.challenge.nonce_hash),
                leases=tuple(
                    lease_ledger.lease_terms(change, received=call.presented.received)
                    for change in evaluation.changes
                ),
                policies=evaluation.appraised.policies,
                log_leaf=record.entry.leaf_hash,
                now=evaluation.now,
            )
            lease_ledger.apply(tx, evaluation.active, evaluation.changes, sequence=sequence)
            tx.evidence.put(evidence)
            keep(tx, after.node_id, bound.runtime_log)
            devices.take(
                *(tx, evaluation.facts.claims, after.node_id),
                seen=evaluation.facts.elsewhere,
                horizons=_horizons(evaluation),
                now=evaluation.now,
                random_bytes=self.random_bytes,
            )
            append_decision(tx, record)
            return issued

        issued = self.database.write(write)
        if evaluation.facts.elsewhere:
            self.wake.sweeps()
        return _Committed(issued=issued, decision=record.decision, evidence=evidence)

    # Step 8: what was decided leaves.

    def _answer(
        self,
        call: AttestCall,
        bound: BoundEvidence,
        evaluation: _Evaluation,
        committed: _Committed,
    ) -> AttestAnswer:
        node_id = evaluation.node.node_id
        issued = committed.issued
        sent = _sent(evaluation)
        tpm_lock = bound.authenticated.lock
        lock = (
            AnswerLock.of(tpm_lock, issued.digest, self.random_bytes)
            if sent and tpm_lock is not None
            else None
        )
        next_index = evaluation.step.issued
        return AttestAnswer(
            posture=evaluation.appraised.posture,
            code="" if evaluation.appraised.posture.passing else evaluation.appraised.code,
            terms=issued.cose,
            content_keys=seal_content_keys(
                evaluation.hpke_public, sent, digest=issued.digest, lock=lock
            ),
            tpm_lock=None if lock is None else lock.credential,
            ratchet=seal_ratchet(
                evaluation.hpke_public,
                index=next_index,
                secret=ratchet.secret(self.keystore, node_id, next_index),
                digest=issued.digest,
            ),
            denials=evaluation.denials,
            certificate=evaluation.certificate,
            renew_after_ms=_renew_after_ms(evaluation, call.presented.received),
            runtime_log_next=bound.proven_entries,
            attestation_result=self._result(call, bound, evaluation, committed),
        )

    def _result(
        self,
        call: AttestCall,
        bound: BoundEvidence,
        evaluation: _Evaluation,
        committed: _Committed,
    ) -> str:
        if call.result is None:
            return ""
        until = result_end(
            as_of=bound.challenge.issued,
            clock=evaluation.appraised.clock,
            limits=_limits(call, bound, evaluation.facts, evaluation.certificate),
            lease_ends=_horizons(evaluation),
        )
        finding = Finding(
            tls_spki=call.presented.tls_spki,
            decision=committed.decision,
            evidence=committed.evidence,
            posture=evaluation.appraised.posture,
            until=until,
        )
        try:
            issued = self.results.issue(
                finding, call.result, result_id=finding.decision.decision_id, now=evaluation.now
            )
        except Refused:  # it would not hold for another second; the rest of the answer stands
            return ""
        return issued.text

    def _quarantine(self, call: AttestCall, error: DomainError) -> None:
        """Quarantine both holders of one state: they share the instance and its record."""
        node_id = thumbprint(call.presented.tls_spki).hex()
        now = self.clock.now()

        def write(tx: Transaction) -> None:
            node = tx.nodes.get(node_id)
            tx.nodes.save(
                replace(
                    node,
                    posture=Posture.QUARANTINED,
                    posture_code=error.code.value,
                    failure_class=FailureClass.clone,
                    quarantined=node.quarantined or now,
                )
            )
            cause = {"code": error.code.value, "detail": error.detail, "node": node_id}
            fence(
                tx,
                scope=fences.node(node_id),
                cause=cause,
                now=now,
                random_bytes=self.random_bytes,
            )

        self.database.write(write)
        self.wake.sweeps()


def _limits(
    call: AttestCall,
    bound: BoundEvidence,
    facts: AppraisalFacts,
    certificate: NodeCertificate | None,
) -> tuple[Limit, ...]:
    """Return what ends any lease of this node, whatever its workload (F33)."""
    ends = certificate.not_after if certificate else call.certificate_not_after
    return (
        *bound.authenticated.limits,
        *facts.reference.limits,
        Limit("node certificate", ends),
    )


def _sent(evaluation: _Evaluation) -> tuple[SendableKey, ...]:
    """Return the content keys that leave with the answer, in the order of its leases."""
    return tuple(
        SendableKey(
            bytes.fromhex(change.lease.lease_id),
            bytes.fromhex(model.content_key_id),
            evaluation.content_keys[model.content_key_id],
        )
        for change in evaluation.changes
        if change.needs_keys and change.release is not None
        for model in change.release.models
    )


def _after(node: Node, evaluation: _Evaluation, bound: BoundEvidence, call: AttestCall) -> Node:
    appraised = evaluation.appraised
    binding = bound.binding
    return replace(
        node,
        posture=appraised.posture,
        posture_code=appraised.code,
        failure_class=appraised.failure,
        platform_id=bound.authenticated.claims.platform_id,
        provider=bound.authenticated.claims.provider,
        clock=appraised.clock,
        agent_version=call.agent_version,
        hpke_public=bound.hpke_public,
        signing_public=binding.signing_public,
        ratchet_confirmed=evaluation.step.confirmed,
        ratchet_issued=evaluation.step.issued,
        last_attested=evaluation.now,
    )


def _horizons(evaluation: _Evaluation) -> list[datetime]:
    return [
        change.lease.not_after
        for change in evaluation.changes
        if change.state is not LeaseTermsState.ENDED
    ]


def _renew_after_ms(evaluation: _Evaluation, received: datetime) -> int:
    horizons = _horizons(evaluation)
    if not horizons:
        return IDLE_RENEWAL_MS
    left = (min(horizons) - received).total_seconds()
    return max(0, int(left * 1000 * RENEW_AT))
