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
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.challenge import Challenge
from sealward.controlplane.domain.decisions import DecisionKind
from sealward.controlplane.domain.errors import Code, Conflict, DomainError, Refused
from sealward.controlplane.domain.horizon import Limit
from sealward.controlplane.domain.leases import Lease
from sealward.controlplane.domain.nodes import FailureClass, Node, NodeState
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.services import inputs, lease_ledger, ratchet
from sealward.controlplane.services.administration import Wake
from sealward.controlplane.services.appraisal import Appraised, Appraiser, Subject
from sealward.controlplane.services.decision_record import Record, append_decision, latest_evidence
from sealward.controlplane.services.enrollment import require_same_instance
from sealward.controlplane.services.evidence import (
    BoundEvidence,
    EvidenceGate,
    Presented,
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
from sealward.verifier.formats.tpm.credential import Credential
from sealward.verifier.rats.binding import thumbprint
from sealward.verifier.rats.claims import Tee
from sealward.verifier.rats.result import Posture

# Two holders of one instance: of its ratchet, or of its key. One of them is not who it says.
_STOLEN: Final = frozenset((Code.clone_detected, Code.instance_changed))
_ATTEMPTS: Final = 4  # a fence that moves more often than this during one call is an outage of ours
MAX_WORKLOADS: Final = 16  # asked for in one call
RENEW_AT: Final = 0.8  # of the horizon (blueprint 4.5); the listener adds jitter
IDLE_RENEWAL_MS: Final = 60_000  # a node without leases still shows its posture once a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestCall:
    """One attestation as it came in on the agent listener.

    Attributes:
        presented: ticket, binding, evidence, the connection's key and the instant of arrival.
        workloads: names that the node would like to run.
        certificate_not_after: end of the certificate of this connection.
        agent_version: for the record.
        correlation_id: quoted to the node and to operators alike.
    """

    presented: Presented
    workloads: tuple[str, ...]
    certificate_not_after: datetime
    agent_version: str
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestAnswer:
    """What goes back to the node.

    Attributes:
        posture: the node's posture after this attestation.
        code: coarse reason of a posture that does not pass, else empty.
        terms: signed terms.
        content_keys: HPKE ciphertexts of newly granted content keys.
        tpm_lock: opens the layer inside of them; None for nodes that are not TPM nodes, and without
            content keys.
        ratchet: HPKE ciphertext of the next ratchet secret.
        denials: workloads asked for and not granted.
        certificate: a fresh node certificate, or None while the present one is young.
        renew_after_ms: when to attest again, from now.
        runtime_log_next: entries of the node's runtime log that it need not send again.
    """

    posture: Posture
    code: str
    terms: bytes
    content_keys: tuple[bytes, ...]
    tpm_lock: Credential | None
    ratchet: bytes
    denials: tuple[WorkloadDenial, ...]
    certificate: NodeCertificate | None
    renew_after_ms: int
    runtime_log_next: int = 0


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
        challenge = self.gate.open_challenge(call.presented)
        try:
            return self._decide(call, challenge)
        except Exception as error:
            spend_after(error, self.database, challenge)
            if isinstance(error, DomainError) and error.code in _STOLEN:
                self._quarantine(call, error)
            raise

    def _decide(self, call: AttestCall, challenge: Challenge) -> AttestAnswer:
        for attempt in range(1, _ATTEMPTS + 1):
            # Each time: what evidence is verified under may be what has moved.
            bound = self.gate.authenticate(call.presented, challenge)
            evaluation = self._evaluate(call, bound)
            try:
                issued = self._commit(call, bound, evaluation)
                return self._answer(call, bound, evaluation, issued)
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
            node = require_admitted(tx.nodes.get(node_id))
            scopes = [fences.node(node_id), fences.policy(PolicyKind.RELEASE)]
            scopes += [fences.workload(name) for name in call.workloads]
            facts = read_appraisal_facts(
                tx, self.book, bound.claims, bound.measured, more_scopes=scopes, now=now
            )
            return node, facts, self.releaser.read(tx, node, call.workloads, facts.epochs)

        node, facts, release_facts = self.database.read(read)
        require_same_instance(node, authentic)
        step = ratchet.step(self.keystore, node, bound.binding)
        appraised = self.appraiser.appraise(
            facts, facts.claims, Subject.of(node), verdicts=authentic.verdicts, now=now
        )
        certificate = self.certificates.renewed(
            call.presented.tls_spki, node_id, not_after=call.certificate_not_after, now=now
        )
        ends = certificate.not_after if certificate else call.certificate_not_after
        released = self.releaser.release(
            release_facts,
            Case(
                node=node,
                appraised=appraised,
                claims=facts.claims,
                reference=facts.reference,
                limits=(
                    *bound.authenticated.limits,
                    *facts.reference.limits,
                    Limit("node certificate", ends),
                ),
                challenge_issued=bound.challenge.issued,
                now=now,
                unlocked=authentic.tee is Tee.TPM and bound.authenticated.lock is None,
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
    ) -> IssuedTerms:
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

        def write(tx: Transaction) -> IssuedTerms:
            tx.epochs.require({**evaluation.facts.epochs, **bound.epochs})
            tx.challenges.spend(bound.challenge.nonce_hash, bound.challenge.expires)
            node = require_admitted(tx.nodes.get(evaluation.node.node_id))
            if node.ratchet_issued != evaluation.node.ratchet_issued:
                raise Conflict(Code.state_changed, "another attestation of this node came first")
            if tx.leases.active_of_node(node.node_id) != evaluation.active:
                raise Conflict(Code.state_changed, "a lease of this node ended meanwhile")
            issued = self.issuer.issue(
                tx,
                node_id=node.node_id,
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
            lease_ledger.apply(tx, evaluation.changes, sequence=issued.sequence)
            tx.nodes.save(_after(node, evaluation, bound, call))
            tx.evidence.put(evidence)
            keep(tx, node.node_id, bound.runtime_log)
            append_decision(tx, record)
            return issued

        return self.database.write(write)

    # Step 8: what was decided leaves.

    def _answer(
        self,
        call: AttestCall,
        bound: BoundEvidence,
        evaluation: _Evaluation,
        issued: IssuedTerms,
    ) -> AttestAnswer:
        node_id = evaluation.node.node_id
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
        )

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


def require_admitted(node: Node) -> Node:
    """Return `node` if it may attest.

    Raises:
        Refused: `node_pending`, `node_rejected`, `node_retired` or `node_quarantined`.
    """
    if node.quarantined is not None:
        raise Refused(
            Code.node_quarantined,
            f"the node is quarantined: {node.posture_code}",
            "an operator releases it after review: sealward node release",
        )
    if node.state is NodeState.admitted:
        return node
    code = {
        NodeState.pending: Code.node_pending,
        NodeState.rejected: Code.node_rejected,
        NodeState.retired: Code.node_retired,
    }[node.state]
    raise Refused(code, f"the node is {node.state.value}", "enrol, or ask an operator to admit it")


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


def _renew_after_ms(evaluation: _Evaluation, received: datetime) -> int:
    horizons = [
        change.lease.not_after
        for change in evaluation.changes
        if change.state is not LeaseTermsState.ENDED
    ]
    if not horizons:
        return IDLE_RENEWAL_MS
    left = (min(horizons) - received).total_seconds()
    return max(0, int(left * 1000 * RENEW_AT))
