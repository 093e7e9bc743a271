"""Appraisal: claims, policies and reference values in; a capped trust vector and a posture out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from sealward.controlplane.domain.errors import Code, Unavailable
from sealward.controlplane.domain.explanations import finding, of_verdict, ordered
from sealward.controlplane.domain.nodes import ClockClass, FailureClass, Node
from sealward.controlplane.domain.policies import REQUIRED, AppraisalAnswer, Reason
from sealward.controlplane.domain.policy_composition import (
    Outcome,
    compose_appraisal,
    outcome,
    stalled,
)
from sealward.controlplane.domain.policy_engine import LayerPolicy, PolicyEngine
from sealward.controlplane.domain.records import Labels
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.facts import AppraisalFacts, rfc3339
from sealward.controlplane.services.reference_overlap import Entry
from sealward.controlplane.services.submods import SUBMODS, own_verdicts, worst
from sealward.controlplane.services.submods import devices as find_devices
from sealward.verifier.rats.claims import Tee
from sealward.verifier.rats.result import (
    Dimension,
    Posture,
    TrustVector,
    Verdict,
    VerdictCode,
    cap,
    posture,
)
from sealward.verifier.wire import json

# Failures that say something about the code or the platform itself: recovery needs a person (F18).
_INTEGRITY: Final = frozenset(
    (
        "unknown_measurement",
        "boot_unknown",
        "debug_enabled",
        "distrusted",
        "platform_denied",
        "trust_anchor_removed",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an appraisal policy may know of a node beside its claims.

    Attributes:
        node_id: hex thumbprint of the instance.
        labels: attested and assigned labels.
        agent_version: as the agent states it.
    """

    node_id: str
    labels: Labels
    agent_version: str

    @classmethod
    def of(cls, node: Node) -> Self:
        """Return what a policy may know of an enrolled node."""
        labels = dict(node.labels_attested) | dict(node.labels_assigned)
        return cls(
            node_id=node.node_id,
            labels=tuple(sorted(labels.items())),
            agent_version=node.agent_version,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraised:
    """The result of one appraisal.

    Attributes:
        vector: after the verifier's caps.
        posture: what the vector comes to.
        code: first reason when the posture is not compliant, else empty.
        failure: how the failure recovers; None when the posture passes, but for a doubt about the
            code itself.
        reasons: every reason, as canonical JSON values: plain rules, then verdicts, then policies.
        policies: digests of the policies that decided, by "kind/layer".
        clock: class of the node's clock: what the evidence proves or its reference values vouch
            for.
        development: whether the evidence ends in a development root.
        submods: vectors of the devices of a composite, after the verifier's caps, by label.
    """

    vector: TrustVector
    posture: Posture
    code: str
    failure: FailureClass | None
    reasons: tuple[Mapping[str, json.Canonical], ...]
    policies: Mapping[str, bytes]
    clock: ClockClass
    development: bool
    submods: tuple[tuple[str, TrustVector], ...] = ()

    def vectors(self) -> dict[str, json.Canonical]:
        """Return the vector as it is recorded, those of devices under "submods"."""
        devices: dict[str, json.Canonical] = {
            label: vector.to_json() for label, vector in self.submods
        }
        return self.vector.to_json() | ({SUBMODS: devices} if devices else {})

    def cause(self, denial: str, *, before: Posture) -> str:
        """Return why a lease ends that met `denial`: a posture that has changed, by its reason."""
        changed = self.posture is not before and denial == Code.posture_noncompliant
        return (changed and self.code) or denial


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraiser:
    """Appraises claims for one installation.

    Attributes:
        engine: evaluates policies.
        trust_config_digest: hex digest that an agent's launch must have measured (F15).
        development: whether this installation serves development roots. Only then is the verdict
            about the development root left out of the posture: it stays in the vector and in every
            reason, and such a node never gets a production workload.
    """

    engine: PolicyEngine
    trust_config_digest: str
    development: bool

    def appraise(
        self,
        facts: AppraisalFacts,
        claims: ClaimsDocument,
        subject: Subject,
        *,
        verdicts: tuple[Verdict, ...],
        now: datetime,
    ) -> Appraised:
        """Evaluate every appraisal layer alone, compose, cap, and name the posture.

        Args:
            facts: policies and reference values in force.
            claims: fresh claims, or recorded ones when the caller may only lower a posture (F17).
            subject: what else a policy may know.
            verdicts: what the verifier itself holds against the evidence.
            now: instant of the decision.
        """
        verdicts = (*verdicts, *facts.distrusted)
        development = claims.values.get("development") is True
        document = claims.beside(
            {
                "node": _node(subject, development=development),
                "expected": {"trust_config_digest": self.trust_config_digest},
                "now": rfc3339(now),
            }
        )
        outcomes = [
            outcome(AppraisalAnswer, self.engine, policy, document, facts.reference.document)
            for policy in facts.appraisal
        ]
        require_answered(outcomes)
        answer = compose_appraisal(outcomes)
        vector = answer.trust_vector
        devices = find_devices(claims, answer.submods, verdicts)
        machine = own_verdicts(verdicts)
        verdicts = tuple(dict.fromkeys((*verdicts, *(v for one in devices for v in one.verdicts))))
        deciding = [v for v in verdicts if not (self.development and _is_development(v))]
        result = posture(cap(vector, [v for v in machine if v in deciding]), REQUIRED)
        if devices:
            result = worst([result, *(device.posture(deciding) for device in devices)])
        told = {verdict.code.value for verdict in verdicts}
        rules = tuple(_rules(facts, claims))
        if rules:
            result = Posture.NONCOMPLIANT
        reasons = (
            *rules,
            *(of_verdict(verdict).to_json() for verdict in verdicts),
            *(reason_json(reason) for reason in answer.reasons if reason.code not in told),
        )
        codes = () if result is Posture.COMPLIANT else _codes(reasons, development=self.development)
        return Appraised(
            vector=cap(vector, machine),
            posture=result,
            code=codes[0] if codes else "",
            failure=_failure(codes, result),
            reasons=reasons,
            policies=policy_digests(facts.appraisal),
            clock=_clock(claims, facts.reference.entries),
            development=development,
            submods=tuple((one.label, cap(one.vector, one.verdicts)) for one in devices),
        )


def _node(subject: Subject, *, development: bool) -> dict[str, json.Canonical]:
    return {
        "instance": subject.node_id,
        "labels": dict(subject.labels),
        "agent_version": subject.agent_version,
        "development": development,
    }


def policy_digests(policies: Iterable[LayerPolicy]) -> dict[str, bytes]:
    """Return "kind/layer" -> digest."""
    return {f"{p.kind}/{p.layer}": bytes.fromhex(p.bundle.digest) for p in policies}


def reason_json(reason: Reason) -> dict[str, json.Canonical]:
    """Return a reason as it is recorded and explained."""
    return {
        "code": reason.code,
        "claim": reason.claim,
        "expected": reason.expected,
        "actual": reason.actual,
        "hint": reason.hint,
        "layer": reason.layer.value,
        "rule": reason.rule,
    }


def tier_names(vector: TrustVector) -> dict[str, json.Canonical]:
    """Return AR4SI name -> tier name: how policies read a vector."""
    return {d.value: vector.tier(d).name.lower() for d in Dimension}


def _is_development(verdict: Verdict) -> bool:
    return verdict.code is VerdictCode.DEVELOPMENT_ROOT


def require_answered(outcomes: Sequence[Outcome[Any]]) -> None:
    """Refuse to decide while an engine is not answering.

    Raises:
        Unavailable: `policy_engine_unavailable`; nothing is granted and nothing taken away.
    """
    reason = stalled(outcomes)
    if reason is not None:
        raise Unavailable(
            Code.policy_engine_unavailable,
            f"{reason.rule}: {reason.actual}",
            "look at the policy that does not answer; leases end at their horizons meanwhile",
        )


def _codes(
    reasons: Iterable[Mapping[str, json.Canonical]], *, development: bool
) -> tuple[str, ...]:
    """Return the codes behind a posture that is not compliant, in the order of explanations.

    In a development installation the root of the evidence is no cause of anything.
    """
    codes = tuple(one.code for one in ordered(map(finding, reasons)))
    if development:
        codes = tuple(code for code in codes if code != VerdictCode.DEVELOPMENT_ROOT.value)
    return codes or ("claim_not_vouched_for",)


def _failure(codes: tuple[str, ...], result: Posture) -> FailureClass | None:
    """Return the worst class among the codes: one doubt about the code itself decides (F1).

    A posture that passes for all that its codes say has failed in nothing else.
    """
    if _INTEGRITY & set(codes):
        return FailureClass.integrity
    return None if result.passing else FailureClass.policy


def _rules(facts: AppraisalFacts, claims: ClaimsDocument) -> Iterator[dict[str, json.Canonical]]:
    """Yield what plain rules of the control plane hold against a node: each one decides."""
    if facts.anchor_removed:
        yield _removed_anchor(claims)
    if facts.platform_denied:
        yield _denied_platform(claims)
    for one in facts.elsewhere:
        yield one.reason()


def _denied_platform(claims: ClaimsDocument) -> dict[str, json.Canonical]:
    return {
        "code": Code.platform_denied.value,
        "claim": "claims.platform_id",
        "expected": "a platform that is not denied",
        "actual": claims.values.get("platform_id"),
        "hint": "an administrator denied this platform; no policy can lift it",
        "layer": "controlplane",
        "rule": "controlplane",
    }


def _removed_anchor(claims: ClaimsDocument) -> dict[str, json.Canonical]:
    by_instance = claims.values.get("tee") in {Tee.CCA.value, Tee.PSA.value}
    return {
        "code": Code.trust_anchor_removed.value,
        "claim": "claims.platform_id" if by_instance else "claims.tpm.ek.issuers_sha256",
        "expected": "a trust anchor that is in force",
        "actual": "one that was removed",
        "hint": "an administrator removed the anchor behind this evidence; no policy can lift it",
        "layer": "controlplane",
        "rule": "controlplane",
    }


def _clock(claims: ClaimsDocument, entries: Iterable[Entry]) -> ClockClass:
    # Secure TSC is set up in the measured launch state, so a reference value can vouch for it (F4).
    proven = claims.values.get("clock") == ClockClass.protected.value
    vouched = any(entry.get("clock") == ClockClass.protected.value for entry in entries)
    return ClockClass.protected if proven or vouched else ClockClass.host
