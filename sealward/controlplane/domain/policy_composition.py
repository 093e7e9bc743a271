"""Several layers, one decision: the host composes, and a lower layer can only tighten.

    the organisation's layer must be there: it is the guardrail, and nobody decides in its place
    every configured layer must answer, and say yes; silence of any kind is a denial with a reason
    numbers compose by minimum, sets by intersection; tiers and admissions by the worst
    the result is clamped to what the host allows at all

Each layer was evaluated alone before it comes here (F20). A layer is configured when it appears
in the outcomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeAlias, TypeVar

from sealward.controlplane.domain.policies import (
    Admission,
    AppraisalAnswer,
    EnrollmentAnswer,
    Label,
    Layer,
    Obligations,
    PolicyKind,
    Reason,
    ReleaseAnswer,
)
from sealward.controlplane.domain.policies_decoding import ask
from sealward.controlplane.domain.policy_engine import (
    EngineFault,
    LayerPolicy,
    PolicyEngine,
    PolicyEngineError,
)
from sealward.verifier.rats.result import Dimension, Tier, TrustVector

DEFAULT_TTL_SECONDS: Final = 300  # F33
MAX_TTL_SECONDS: Final = 3600  # F33
MAX_INSTANCES: Final = 100_000  # no fleet is larger; keeps the number in every store's range

GUARDRAIL: Final = Layer.ORGANISATION  # without its answer nothing is granted

_STALLS: Final = frozenset((EngineFault.TIMEOUT, EngineFault.CRASHED, EngineFault.BUSY))
_ORDER: Final = tuple(Layer)
_WELCOME: Final = tuple(Admission)  # most welcoming first

_A = TypeVar("_A", AppraisalAnswer, EnrollmentAnswer, ReleaseAnswer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Generic[_A]):
    """A layer that answered."""

    layer: Layer
    answer: _A


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """A layer that is configured and gave no answer.

    Attributes:
        layer: which one.
        reason: says how.
        stalled: whether the engine failed rather than the policy: asking again may bring an answer.
    """

    layer: Layer
    reason: Reason
    stalled: bool = False


Outcome: TypeAlias = Answered[_A] | Silent


def outcome(
    kind: type[_A],
    engine: PolicyEngine,
    policy: LayerPolicy,
    document: bytes,
    reference: bytes = b"{}",
) -> Outcome[_A]:
    """Ask one layer. Never raises for a policy's fault: its silence is part of the decision."""
    try:
        answer = ask(engine, policy, document, reference)
    except PolicyEngineError as error:
        stalled = error.fault in _STALLS
        return Silent(layer=policy.layer, reason=_silence(policy, error), stalled=stalled)
    if not isinstance(answer, kind):
        raise TypeError(f"{policy.kind} policies do not give {kind.__name__}")
    return Answered(layer=policy.layer, answer=answer)


def stalled(outcomes: Iterable[Outcome[_A]]) -> Reason | None:
    """Return why the engine gave no answer, if it was the engine's fault and not a policy's.

    Nothing may be granted then, but nothing may be taken away for it either: a hiccup of ours says
    nothing about a node, and its leases end at their horizons by themselves.
    """
    return next((o.reason for o in outcomes if isinstance(o, Silent) and o.stalled), None)


def compose_release(outcomes: Sequence[Outcome[ReleaseAnswer]]) -> ReleaseAnswer:
    """Return the one release decision; allowed only when every layer said so.

    The obligations of a denial are the strictest there are, so that nothing can be read into them.
    """
    reasons = [*_spoken(outcomes)]
    answers = _answers(outcomes)
    limits = _strictest([answer.obligations for _, answer in answers])
    for layer, answer in answers:
        if not answer.allow and not answer.reasons:
            reasons.append(_own(layer, "denied_without_reason", "allow", "a reason for a denial"))
        if answer.allow and answer.reasons:
            # Consent and objection at once is a policy's bug; the objection counts.
            reasons.append(_own(layer, "allowed_with_reasons", "allow", "no reasons beside allow"))
    if limits.regions is not None and not limits.regions:
        reasons.append(_own(_ORDER[0], "no_common_region", "obligations.regions", "one region"))
    reasons += _unguarded(outcomes, PolicyKind.RELEASE)
    return ReleaseAnswer(allow=not reasons, reasons=tuple(reasons), obligations=limits)


def compose_appraisal(outcomes: Sequence[Outcome[AppraisalAnswer]]) -> AppraisalAnswer:
    """Return the worst tier of every name over all layers, and all reasons.

    A silent layer contraindicates everything: its authors meant to be asked.
    """
    reasons = [*_spoken(outcomes)]
    answers = [answer for _, answer in _answers(outcomes)]
    vectors = [answer.trust_vector for answer in answers]
    unguarded = _unguarded(outcomes, PolicyKind.APPRAISAL)
    if unguarded or len(vectors) < len(outcomes):
        vectors.append(_nothing_trusted())
    return AppraisalAnswer(
        trust_vector=_worst_vector(vectors),
        reasons=(*reasons, *unguarded),
        submods=_compose_submods(answers),
    )


def _compose_submods(
    answers: Sequence[AppraisalAnswer],
) -> tuple[tuple[str, TrustVector], ...]:
    """Return the worst of every layer that says something of a device."""
    told: dict[str, list[TrustVector]] = {}
    for answer in answers:
        for label, vector in answer.submods:
            told.setdefault(label, []).append(vector)
    return tuple((label, _worst_vector(vectors)) for label, vectors in sorted(told.items()))


def _worst_vector(vectors: Sequence[TrustVector]) -> TrustVector:
    return TrustVector(
        **{one.attribute: worst(*(vector.tier(one) for vector in vectors)) for one in Dimension}
    )


def compose_enrollment(outcomes: Sequence[Outcome[EnrollmentAnswer]]) -> EnrollmentAnswer:
    """Return the least welcoming answer; labels add up, and two values for one name reject."""
    reasons = [*_spoken(outcomes)]
    answers = _answers(outcomes)
    verdict = max((a.answer for _, a in answers), key=_WELCOME.index, default=Admission.REJECT)
    unguarded = _unguarded(outcomes, PolicyKind.ENROLLMENT)
    reasons += unguarded
    labels: dict[str, str] = {}
    for layer, answer in answers:
        for label in answer.labels:
            if labels.setdefault(label.name, label.value) != label.value:
                reasons.append(
                    replace(
                        _own(layer, "label_conflict", f"labels.{label.name}", ""),
                        expected=labels[label.name],
                        actual=label.value,
                    )
                )
                verdict = Admission.REJECT
    if unguarded or len(answers) < len(outcomes):
        verdict = Admission.REJECT
    return EnrollmentAnswer(
        answer=verdict,
        labels=tuple(Label(name=name, value=value) for name, value in sorted(labels.items())),
        reasons=tuple(reasons),
    )


def worst(*tiers: Tier) -> Tier:
    """Return the tier that trusts no more than any of `tiers`; of none at all, `none`.

    `none` lies beside the scale and not on it: where silence is a failure it weighs more than a
    warning, elsewhere less. A layer that warns and one that vouches for nothing therefore
    contraindicate, as in `rats.result.cap`; anything else would let one layer hide the other.
    """
    if Tier.NONE in tiers and Tier.WARNING in tiers:
        return Tier.CONTRAINDICATED
    if Tier.NONE in tiers and Tier.CONTRAINDICATED not in tiers:
        return Tier.NONE
    return max(tiers, default=Tier.NONE)


def _answers(outcomes: Iterable[Outcome[_A]]) -> list[tuple[Layer, _A]]:
    """Return the answers, widest authority first."""
    found = [(o.layer, o.answer) for o in outcomes if isinstance(o, Answered)]
    return sorted(found, key=lambda pair: _ORDER.index(pair[0]))


def _spoken(outcomes: Iterable[Outcome[_A]]) -> list[Reason]:
    ordered = sorted(outcomes, key=lambda o: _ORDER.index(o.layer))
    return [
        reason
        for one in ordered
        for reason in ((one.reason,) if isinstance(one, Silent) else one.answer.reasons)
    ]


def _unguarded(outcomes: Iterable[Outcome[_A]], kind: PolicyKind) -> tuple[Reason, ...]:
    """Return the reason that counts when the organisation has no policy of this kind.

    Whoever may write a narrower layer's policy could otherwise decide alone, without the limits
    that the organisation relies on.
    """
    if any(one.layer is GUARDRAIL for one in outcomes):
        return ()
    return (
        replace(
            _own(GUARDRAIL, "no_policy", None, f"an active {kind} policy of the organisation"),
            hint="activate one for the organisation; the other layers can only narrow what it says",
        ),
    )


def _strictest(all_limits: Sequence[Obligations]) -> Obligations:
    regions = [limits.regions for limits in all_limits if limits.regions is not None]
    ttl = _least((limits.ttl_seconds for limits in all_limits), MAX_TTL_SECONDS)
    return Obligations(
        ttl_seconds=DEFAULT_TTL_SECONDS if ttl is None else ttl,
        max_instances=_least((limits.max_instances for limits in all_limits), MAX_INSTANCES),
        regions=frozenset.intersection(*regions) if regions else None,
    )


def _least(values: Iterable[int | None], ceiling: int) -> int | None:
    stated = [value for value in values if value is not None]
    return min(*stated, ceiling) if stated else None


def _nothing_trusted() -> TrustVector:
    return TrustVector(**{one.attribute: Tier.CONTRAINDICATED for one in Dimension})


def _silence(policy: LayerPolicy, error: PolicyEngineError) -> Reason:
    return Reason(
        code=f"policy_{error.fault}",
        claim=None,
        expected=f"an answer of the {policy.layer} layer's {policy.kind} policy",
        actual=error.detail,
        hint="nothing is granted while a configured layer gives no answer; mend or replace it",
        layer=policy.layer,
        rule=policy.package,
    )


def _own(layer: Layer, code: str, claim: str | None, expected: str) -> Reason:
    """A reason of the host itself, about how the layers fit together."""
    return Reason(
        code=code,
        claim=claim,
        expected=expected,
        actual=None,
        hint="change the policies of the layers concerned so that they agree",
        layer=layer,
        rule="sealward.host",
    )
