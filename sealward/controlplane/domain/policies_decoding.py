"""From the JSON that an engine returned to the typed answer, or to a refusal that says why.

Strict by the rule that a policy's mistake must never read as consent: a missing member, an extra
one, another type, an unknown code word or obligation is an error, never a default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar

from sealward.controlplane.domain.policies import (
    Admission,
    Answer,
    AppraisalAnswer,
    EnrollmentAnswer,
    Label,
    Layer,
    Obligations,
    PolicyKind,
    Reason,
    ReleaseAnswer,
    Scalar,
    package_root,
)
from sealward.controlplane.domain.policy_engine import (
    EngineFault,
    LayerPolicy,
    PolicyEngine,
    PolicyEngineError,
)
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.result import Dimension, Tier, TrustVector
from sealward.verifier.wire import json

MAX_ANSWER_BYTES: Final = 64 * 1024  # goes into the audit log for every decision
MAX_REASONS: Final = 64
MAX_LABELS: Final = 32
MAX_REGIONS: Final = 64
MAX_SUBMODS: Final = 32  # eight GPUs and their switches in the largest machine, and room
MAX_TEXT_CHARACTERS: Final = 512  # a digest of 64 bytes in hex is 128
_ANSWERS_REMEMBERED: Final = 128  # of MAX_ANSWER_BYTES; compliant nodes all get the same few

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LABEL_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_SUBMODS: Final = "submods"
_SUBMOD: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_REGION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_REASON_MEMBERS: Final = frozenset({"code", "claim", "expected", "actual", "hint"})

_TIERS: Final = {tier.name.lower(): tier for tier in Tier}

_Word = TypeVar("_Word", bound=StrEnum)
_Source: TypeAlias = tuple[Layer, str]  # where a reason comes from: its layer and its package


class InvalidAnswer(Exception):
    """What the policy answered is not an answer to its question.

    Attributes:
        detail: which member is wrong and how, one clause.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail: Final = detail


def ask(
    engine: PolicyEngine, policy: LayerPolicy, document: bytes, reference: bytes = b"{}"
) -> Answer:
    """Return the typed answer of one layer's policy to one document.

    Raises:
        PolicyEngineError: there is none, or it is no answer to the question (fault ERROR).
    """
    data = engine.evaluate(policy, document, reference)
    try:
        return decode(policy, data)
    except InvalidAnswer as error:
        raise PolicyEngineError(EngineFault.ERROR, f"{policy.package}: {error.detail}") from None


def decode(policy: LayerPolicy, data: bytes) -> Answer:
    """Read what `policy` answered.

    Raises:
        InvalidAnswer: anything but a complete answer of the policy's kind within the budgets.
    """
    return _decode(policy.kind, policy.layer, data)


@lru_cache(maxsize=_ANSWERS_REMEMBERED)
def _decode(kind: PolicyKind, layer: Layer, data: bytes) -> Answer:
    """Read an answer; the same bytes to the same question in the same place say the same."""
    try:
        value = json.decode(data, what="answer", max_bytes=MAX_ANSWER_BYTES)
    except MalformedEvidence as error:
        raise InvalidAnswer(error.detail) from None
    source = layer, package_root(kind, layer)
    match kind:
        case PolicyKind.APPRAISAL:
            members = _members(value, "answer", ("trust_vector", "reasons"))
            machine, devices = _vectors(members["trust_vector"])
            return AppraisalAnswer(
                trust_vector=_trust_vector(machine),
                reasons=_reasons(members["reasons"], source),
                submods=_submods(devices),
            )
        case PolicyKind.ENROLLMENT:
            members = _members(value, "answer", ("answer", "labels", "reasons"))
            return EnrollmentAnswer(
                answer=_word(Admission, members["answer"], "answer"),
                labels=_labels(members["labels"]),
                reasons=_reasons(members["reasons"], source),
            )
        case PolicyKind.RELEASE:
            members = _members(value, "answer", ("allow", "reasons", "obligations"))
            return ReleaseAnswer(
                allow=_boolean(members["allow"], "allow"),
                reasons=_reasons(members["reasons"], source),
                obligations=_obligations(members["obligations"]),
            )


def _members(value: json.Value, what: str, names: tuple[str, ...]) -> Mapping[str, json.Value]:
    if not isinstance(value, dict):
        raise InvalidAnswer(f"{what} is not an object")
    if set(value) != set(names):
        raise InvalidAnswer(f"{what} must have exactly {', '.join(names)}")
    return value


def _list(value: json.Value, what: str, most: int) -> list[json.Value]:
    if not isinstance(value, list):
        raise InvalidAnswer(f"{what} is not a list")
    if len(value) > most:
        raise InvalidAnswer(f"{what} has {len(value)} items, at most {most}")
    return value


def _boolean(value: json.Value, what: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidAnswer(f"{what} is not true or false")
    return value


def _text(value: json.Value, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS:
        raise InvalidAnswer(f"{what} is not text of at most {MAX_TEXT_CHARACTERS} characters")
    return value


def _scalar(value: json.Value, what: str) -> Scalar:
    if value is None or isinstance(value, bool | int):
        return value
    return _text(value, what)


def _matching(value: json.Value, pattern: re.Pattern[str], what: str) -> str:
    text = _text(value, what)
    if not pattern.fullmatch(text):
        raise InvalidAnswer(f"{what} does not match {pattern.pattern}")
    return text


def _word(words: type[_Word], value: json.Value, what: str) -> _Word:
    text = _text(value, what)
    try:
        return words(text)
    except ValueError:
        raise InvalidAnswer(f"{what} is not one of {', '.join(words)}") from None


def _vectors(value: json.Value) -> tuple[json.Value, json.Value]:
    """Return the vector of the machine and those of its devices, which may be left out."""
    if not isinstance(value, dict) or _SUBMODS not in value:
        return value, {}
    machine = {name: tier for name, tier in value.items() if name != _SUBMODS}
    return machine, value[_SUBMODS]


def _submods(value: json.Value) -> tuple[tuple[str, TrustVector], ...]:
    if not isinstance(value, dict) or len(value) > MAX_SUBMODS:
        raise InvalidAnswer(f"submods is not an object of at most {MAX_SUBMODS} members")
    return tuple(
        (_matching(label, _SUBMOD, "a submod's label"), _trust_vector(vector))
        for label, vector in sorted(value.items())
    )


def _trust_vector(value: json.Value) -> TrustVector:
    members = _members(value, "trust_vector", tuple(Dimension))
    return TrustVector(
        **{one.attribute: _tier(members[one], f"trust_vector.{one}") for one in Dimension}
    )


def _tier(value: json.Value, what: str) -> Tier:
    text = _text(value, what)
    if text not in _TIERS:
        raise InvalidAnswer(f"{what} is not one of {', '.join(_TIERS)}")
    return _TIERS[text]


def _reasons(value: json.Value, source: _Source) -> tuple[Reason, ...]:
    items = _list(value, "reasons", MAX_REASONS)
    return tuple(_reason(item, f"reasons[{at}]", source) for at, item in enumerate(items))


def _reason(value: json.Value, what: str, source: _Source) -> Reason:
    layer, rule = source
    members = _members(value, what, tuple(sorted(_REASON_MEMBERS)))
    claim = members["claim"]
    return Reason(
        code=_matching(members["code"], _CODE, f"{what}.code"),
        claim=None if claim is None else _text(claim, f"{what}.claim"),
        expected=_scalar(members["expected"], f"{what}.expected"),
        actual=_scalar(members["actual"], f"{what}.actual"),
        hint=_text(members["hint"], f"{what}.hint"),
        layer=layer,
        rule=rule,
    )


def _labels(value: json.Value) -> tuple[Label, ...]:
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        raise InvalidAnswer(f"labels is not an object of at most {MAX_LABELS} members")
    return tuple(
        Label(
            name=_matching(name, _LABEL_NAME, "a label's name"),
            value=_matching(item, _LABEL_VALUE, f"label {name}"),
        )
        for name, item in sorted(value.items())
    )


def _obligations(value: json.Value) -> Obligations:
    if not isinstance(value, dict):
        raise InvalidAnswer("obligations is not an object")
    known = tuple(field.name for field in fields(Obligations))
    unknown = sorted(set(value) - set(known))
    if unknown:
        # Ignoring it would grant without the limit that its author relied on.
        raise InvalidAnswer(f"unknown obligation {unknown[0]}; known are {', '.join(known)}")
    return Obligations(
        ttl_seconds=_count(value, "ttl_seconds"),
        max_instances=_count(value, "max_instances"),
        regions=_regions(value),
    )


def _count(value: Mapping[str, json.Value], name: str) -> int | None:
    if name not in value:
        return None
    number = value[name]
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise InvalidAnswer(f"obligation {name} is not a whole number of at least 1")
    return number


def _regions(value: Mapping[str, json.Value]) -> frozenset[str] | None:
    if "regions" not in value:
        return None
    items = _list(value["regions"], "obligation regions", MAX_REGIONS)
    if not items:
        raise InvalidAnswer("obligation regions is empty; deny instead")
    return frozenset(_matching(item, _REGION, "a region") for item in items)
