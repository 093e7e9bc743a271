"""Decisions.

What was answered to whom, and the digests of everything that it depended on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique

from sealward.controlplane.domain.records import JsonText
from sealward.verifier.rats.result import Posture


@unique
class DecisionKind(StrEnum):
    """The step at which the control plane decided."""

    enroll = "enroll"
    attest = "attest"
    release = "release"
    reappraise = "reappraise"
    revoke = "revoke"


@unique
class Outcome(StrEnum):
    """How it ended. `pended` waits for a person."""

    passed = "passed"
    pended = "pended"
    refused = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision. `input_digests` maps each input's name to its hex digest, as canonical JSON."""

    decision_id: str
    node_id: str
    kind: DecisionKind
    outcome: Outcome
    code: str  # why not, or what a warning is about; empty when nothing is held against it
    posture: Posture | None
    trust_vector: JsonText
    reasons: JsonText
    input_digests: JsonText
    correlation_id: str
    decided: datetime
    entry_id: str
