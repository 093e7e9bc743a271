"""Enrolment (blueprint 4.1, F6): does this instance belong to us?

    1. the challenge is ours, in date and was given to this key          evidence.py
    2. the caller holds that key: it signed the challenge and the binding here
    3. the evidence is authentic and bound to the challenge and the keys  evidence.py, verifier
    4. appraisal policies answer; verifier verdicts cap them             appraisal.py
    5. enrollment policies answer admit, pend or reject                  here
    6. fences unmoved, challenge and join token spent, all recorded      here, in one commit
    7. an admitted node gets a certificate for exactly the bound key

A measurement is not an owner: the platform allow-list or a join token is asked for beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.attempts import AttemptCall
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.challenge import Challenge
from sealward.controlplane.domain.decisions import DecisionKind, Outcome
from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.domain.nodes import Node, NodeState
from sealward.controlplane.domain.platforms import Platform, PlatformState
from sealward.controlplane.domain.policies import Admission, EnrollmentAnswer, PolicyKind
from sealward.controlplane.domain.policy_composition import compose_enrollment, outcome
from sealward.controlplane.domain.policy_engine import LayerPolicy, PolicyEngine
from sealward.controlplane.domain.principals import JoinToken
from sealward.controlplane.domain.records import Labels, RandomBytes
from sealward.controlplane.services import bearer
from sealward.controlplane.services.administration import Wake
from sealward.controlplane.services.admitted import require_same_instance
from sealward.controlplane.services.appraisal import (
    Appraised,
    Appraiser,
    Subject,
    policy_digests,
    reason_json,
    require_answered,
    tier_names,
)
from sealward.controlplane.services.attempts import Attempts, nothing
from sealward.controlplane.services.bearer import BearerUse
from sealward.controlplane.services.decision_record import Record, append_decision, latest_evidence
from sealward.controlplane.services.evidence import (
    BoundEvidence,
    EvidenceGate,
    Presented,
    spend_after,
)
from sealward.controlplane.services.facts import AppraisalFacts, read_appraisal_facts, rfc3339
from sealward.controlplane.services.node_certificates import NodeCertificate, NodeCertificates
from sealward.controlplane.services.policy_book import PolicyBook
from sealward.controlplane.services.ports import Clock, Database, Keystore, Transaction
from sealward.controlplane.services.revocation import fence
from sealward.controlplane.services.runtime_logs import keep
from sealward.verifier.rats.binding import thumbprint
from sealward.verifier.wire import json

PROOF_LABEL: Final = b"sealward/enroll-proof/v1"
_ATTEMPTS: Final = 4
_STATES: Final = {
    Admission.ADMIT: NodeState.admitted,
    Admission.PEND: NodeState.pending,
    Admission.REJECT: NodeState.rejected,
}
_OUTCOMES: Final = {
    Admission.ADMIT: Outcome.passed,
    Admission.PEND: Outcome.pended,
    Admission.REJECT: Outcome.refused,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollCall:
    """One request as it came in on the enrolment listener.

    Attributes:
        presented: its `tls_spki` is the key in the binding, which `proof` must prove.
        proof: ECDSA P-256 / SHA-256 (DER) over label, nonce and SHA-256 of the binding.
        join_token: bearer text, or empty.
        agent_version: for the record.
        correlation_id: quoted to the node and to operators alike.
    """

    presented: Presented
    proof: bytes
    join_token: str
    agent_version: str
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollAnswer:
    """What goes back to the node.

    Attributes:
        admission: see `Admission`.
        node_id: hex thumbprint of the instance.
        certificate: for an admitted node.
        code: coarse reason, empty when admitted.
        runtime_log_next: entries of the node's runtime log that it need not send again.
    """

    admission: Admission
    node_id: str
    certificate: NodeCertificate | None
    code: str
    runtime_log_next: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    appraisal: AppraisalFacts
    policies: tuple[LayerPolicy, ...]
    known: Node | None
    platform: Platform | None
    join_token: JoinToken | None

    @property
    def spends_token(self) -> str | None:
        """Id of the join token that an admission spends; None when there is none left to spend."""
        unused = self.join_token is not None and self.join_token.used is None
        return self.join_token.token_id if self.join_token and unused else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentService:
    """Decides enrolments of one tenant."""

    database: Database
    keystore: Keystore
    clock: Clock
    random_bytes: RandomBytes
    gate: EvidenceGate
    book: PolicyBook
    engine: PolicyEngine
    appraiser: Appraiser
    certificates: NodeCertificates
    attempts: Attempts
    wake: Wake

    def enroll(self, call: EnrollCall) -> EnrollAnswer:
        """Decide one enrolment.

        Raises:
            Refused: the evidence or its binding does not hold; a well-made enrolment that a policy
                turns down is an answer, not an error.
            Conflict: a fence moved at every attempt.
        """
        challenge = self.gate.open_challenge(call.presented)
        who = (AttemptCall.enroll, call.presented.tls_spki, call.correlation_id)
        proven = False  # that the key is the caller's
        try:
            require_proof(call, challenge)
            proven = True
            return self._decide(call, challenge)
        except Exception as error:
            note = self.attempts.note(error, *who) if proven else nothing
            spend_after(error, self.database, challenge, note)
            raise

    def _decide(self, call: EnrollCall, challenge: Challenge) -> EnrollAnswer:
        for attempt in range(1, _ATTEMPTS + 1):
            # Each time: what evidence is verified under may be what has moved.
            bound = self.gate.authenticate(call.presented, challenge, known=self._known(call))
            try:
                return self._attempt(call, bound)
            except Conflict as conflict:
                moved = conflict.code in {Code.epoch_moved, Code.state_changed}
                if not moved or attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _known(self, call: EnrollCall) -> Callable[[Transaction], bool]:
        """Return the question whether the caller is one of ours before its evidence says so."""
        node_id = thumbprint(call.presented.tls_spki).hex()

        def known(tx: Transaction) -> bool:
            node = tx.nodes.find(node_id)
            if node is not None and node.state is NodeState.admitted and node.quarantined is None:
                return True
            now = self.clock.now()
            return self._join_token(tx, call.join_token, node_id, now) is not None

        return known

    def _attempt(self, call: EnrollCall, bound: BoundEvidence) -> EnrollAnswer:
        now = self.clock.now()
        node_id = thumbprint(call.presented.tls_spki).hex()
        facts = self._read(call, bound, node_id, now)
        require_same_instance(facts.known, bound.authenticated.claims)
        subject = _subject(facts.known, node_id, call)
        appraised = self.appraiser.appraise(
            facts.appraisal,
            facts.appraisal.claims,
            subject,
            verdicts=bound.authenticated.claims.verdicts,
            now=now,
        )
        answer = self._ask(facts, appraised, subject, now)
        admission = _admission(facts, answer)
        code = _code(facts, appraised, answer) if admission is not Admission.ADMIT else ""
        record = Record.of(
            kind=DecisionKind.enroll,
            audit_kind=AuditKind.node_enrolled,
            node_id=node_id,
            outcome=_OUTCOMES[admission],
            code=code,
            appraised=appraised,
            bound=bound,
            facts=facts.appraisal,
            extra_reasons=_new_reasons(answer, appraised),
            more_policies=policy_digests(facts.policies),
            correlation_id=call.correlation_id,
            now=now,
            random_bytes=self.random_bytes,
        )
        node = _node(call, bound, facts, appraised, answer, admission=admission, code=code, now=now)
        certificate = (  # before the commit: a key that cannot be certified changes nothing
            self.certificates.issue(call.presented.tls_spki, node_id, now=now)
            if admission is Admission.ADMIT
            else None
        )
        evidence = latest_evidence(node_id, bound, facts.appraisal, appraised)

        def write(tx: Transaction) -> None:
            tx.epochs.require({**facts.appraisal.epochs, **bound.epochs})
            tx.challenges.spend(bound.challenge.nonce_hash, bound.challenge.expires)
            if tx.nodes.find(node_id) != facts.known:
                raise Conflict(Code.state_changed, "the node changed during the decision")
            if facts.spends_token and admission is Admission.ADMIT:
                tx.join_tokens.use(facts.spends_token, node_id, now)
            self._store(tx, node, facts.known, now)
            if node is not facts.known:
                tx.evidence.put(evidence)
                keep(tx, node_id, bound.runtime_log)
            append_decision(tx, record)

        self.database.write(write)
        if _falls(facts.known, node):
            self.wake.sweeps()
        return EnrollAnswer(
            admission=admission,
            node_id=node_id,
            certificate=certificate,
            code=code,
            runtime_log_next=0 if node is facts.known else bound.proven_entries,
        )

    def _store(self, tx: Transaction, node: Node, known: Node | None, now: datetime) -> None:
        if known is None:
            tx.nodes.add(node)
            return
        tx.nodes.save(node)
        if _falls(known, node):
            fence(
                tx,
                scope=fences.node(node.node_id),
                cause={"code": node.posture_code, "node": node.node_id},
                now=now,
                random_bytes=self.random_bytes,
            )

    def _read(self, call: EnrollCall, bound: BoundEvidence, node_id: str, now: datetime) -> _Facts:
        claims = bound.authenticated.claims

        def read(tx: Transaction) -> _Facts:
            scopes = (fences.policy(PolicyKind.ENROLLMENT), fences.node(node_id))
            known = tx.nodes.find(node_id)
            # A stranger's devices are nobody's yet; a node that enrols anew stays held to its own.
            ours = known is not None and known.state is NodeState.admitted
            appraisal = read_appraisal_facts(
                *(tx, self.book, bound.claims, bound.measured),
                more_scopes=scopes,
                now=now,
                holder=node_id if ours else None,
            )
            platform_id = claims.platform_id
            return _Facts(
                appraisal=appraisal,
                policies=self.book.active(tx, PolicyKind.ENROLLMENT, appraisal.epochs),
                known=known,
                platform=None if platform_id is None else tx.platforms.find(platform_id),
                join_token=self._join_token(tx, call.join_token, node_id, now),
            )

        return self.database.read(read)

    def _join_token(
        self, tx: Transaction, text: str, node_id: str, now: datetime
    ) -> JoinToken | None:
        """Return the usable join token that `text` is; a token that is not usable is an error.

        The node that used a token may show it again, even after its end: it enrols anew whenever
        its certificate has run out, and it knows no other secret.

        Raises:
            Refused: `join_token_invalid`, `join_token_expired` or `join_token_spent`.
        """
        if not text:
            return None
        presented = bearer.parse(text)
        token = None if presented is None else tx.join_tokens.find(presented.token_id)
        genuine = (
            presented is not None
            and token is not None
            and bearer.is_genuine(
                BearerUse.join,
                self.keystore,
                presented,
                mac_key_id=token.mac_key_id,
                secret_mac=token.secret_mac,
            )
        )
        if token is None or not genuine:
            raise Refused(
                Code.join_token_invalid, "the join token is not ours", "ask for a new one"
            )
        if token.used_by == node_id:
            return token
        if now >= token.expires:
            raise Refused(
                Code.join_token_expired, "the join token has expired", "ask for a new one"
            )
        if token.used is not None:
            raise Refused(Code.join_token_spent, "the join token was used", "ask for a new one")
        return token

    def _ask(
        self,
        facts: _Facts,
        appraised: Appraised,
        subject: Subject,
        now: datetime,
    ) -> EnrollmentAnswer:
        document = facts.appraisal.claims.beside(
            {
                "posture": appraised.posture.value,
                "trust_vector": tier_names(appraised.vector),
                "reasons": [_plain(reason) for reason in appraised.reasons],
                "platform": {
                    "known": facts.platform is not None,
                    "allowed": facts.platform is not None
                    and facts.platform.state is PlatformState.allowed,
                },
                "join_token": None if facts.join_token is None else {"valid": True},
                "known_instance": facts.known is not None,
                "node": {"instance": subject.node_id, "agent_version": subject.agent_version},
                "now": rfc3339(now),
            }
        )
        reference = facts.appraisal.reference.document
        outcomes = [
            outcome(EnrollmentAnswer, self.engine, policy, document, reference)
            for policy in facts.policies
        ]
        require_answered(outcomes)
        return compose_enrollment(outcomes)


def _subject(known: Node | None, node_id: str, call: EnrollCall) -> Subject:
    if known is not None:
        return Subject.of(known)
    return Subject(node_id=node_id, labels=(), agent_version=call.agent_version)


def require_proof(call: EnrollCall, challenge: Challenge) -> None:
    """Step 2: the caller holds the private half of the key that the binding names.

    Raises:
        Refused: `key_mismatch`.
    """
    message = PROOF_LABEL + challenge.nonce + hashlib.sha256(call.presented.binding).digest()
    try:
        public = load_der_public_key(call.presented.tls_spki)
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise Refused(Code.key_mismatch, "the instance key is not an elliptic curve key")
        public.verify(call.proof, message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
        raise Refused(
            Code.key_mismatch,
            "the proof is not a signature by the bound key over this challenge and binding",
            "sign the challenge that came with this ticket",
        ) from error


def _falls(known: Node | None, node: Node) -> bool:
    """Whether an admitted node is none any more, so that what it holds has to end."""
    return (
        known is not None
        and known.state is NodeState.admitted
        and node.state is not NodeState.admitted
    )


def _admission(facts: _Facts, answer: EnrollmentAnswer) -> Admission:
    """Return what becomes of the node: plain code decides what no policy may (F6, quarantine)."""
    known = facts.known
    if facts.platform is not None and facts.platform.state is PlatformState.denied:
        return Admission.REJECT
    if known is not None and (known.quarantined or known.state is NodeState.retired):
        return Admission.REJECT
    if answer.answer is Admission.PEND and known is not None and known.state is NodeState.admitted:
        return Admission.ADMIT  # an operator admitted this very instance before
    return answer.answer


def _plain(reason: Mapping[str, json.Canonical]) -> dict[str, json.Canonical]:
    """Return a reason as a policy may repeat it: who said it is the host's to record."""
    return {name: reason[name] for name in ("code", "claim", "expected", "actual", "hint")}


def _new_reasons(
    answer: EnrollmentAnswer, appraised: Appraised
) -> tuple[Mapping[str, json.Canonical], ...]:
    """Return what the enrolment policies said beyond the appraisal's own reasons."""
    told = {(reason["code"], reason["claim"]) for reason in appraised.reasons}
    return tuple(
        reason_json(reason) for reason in answer.reasons if (reason.code, reason.claim) not in told
    )


def _code(facts: _Facts, appraised: Appraised, answer: EnrollmentAnswer) -> str:
    known = facts.known
    if facts.platform is not None and facts.platform.state is PlatformState.denied:
        return Code.platform_denied.value
    if known is not None and known.quarantined:
        return Code.node_quarantined.value
    if known is not None and known.state is NodeState.retired:
        return Code.node_retired.value
    decided = answer.answer is Admission.REJECT or not appraised.posture.passing
    if decided and appraised.code:
        return appraised.code
    return answer.reasons[0].code if answer.reasons else Code.policy_denied.value


def _node(
    call: EnrollCall,
    bound: BoundEvidence,
    facts: _Facts,
    appraised: Appraised,
    answer: EnrollmentAnswer,
    *,
    admission: Admission,
    code: str,
    now: datetime,
) -> Node:
    claims = bound.authenticated.claims
    binding = bound.binding
    known = facts.known
    if known is not None and (known.quarantined or known.state is NodeState.retired):
        return known  # what was decided about it stands until an operator decides otherwise
    token_labels: Labels = facts.join_token.labels if facts.join_token else ()
    return Node(
        node_id=thumbprint(call.presented.tls_spki).hex(),
        state=_STATES[admission],
        posture=appraised.posture,
        posture_code=code or appraised.code,
        failure_class=appraised.failure,
        tee=claims.tee.value,
        instance_value=claims.instance_value,
        platform_id=claims.platform_id,
        provider=claims.provider,
        labels_attested=tuple((label.name, label.value) for label in answer.labels),
        labels_assigned=(known.labels_assigned if known else ()) or token_labels,
        development=claims.development,
        clock=appraised.clock,
        agent_version=call.agent_version,
        tls_spki=call.presented.tls_spki,
        hpke_public=bound.hpke_public,
        signing_public=binding.signing_public,
        ratchet_confirmed=known.ratchet_confirmed if known else 0,
        ratchet_issued=known.ratchet_issued if known else 0,
        enrolled=known.enrolled if known else now,
        last_attested=known.last_attested if known else None,
        predecessor=known.predecessor if known else None,
    )
