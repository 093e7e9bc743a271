"""Nodes.

Instances of an attester, their posture, and the latest evidence behind it (F5).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique

from sealward.controlplane.domain.records import JsonText, Labels
from sealward.verifier.rats.result import Posture


@unique
class NodeState(StrEnum):
    """Where a node stands in its life; only an admitted node may attest for a lease."""

    pending = "pending"
    admitted = "admitted"
    rejected = "rejected"
    retired = "retired"


@unique
class FailureClass(StrEnum):
    """Why a posture fell.

    `clone` quarantines the instance for good. After `integrity` fresh evidence may raise the
    posture again, but what the failed code held stays exposed until it is resealed.
    """

    integrity = "integrity"
    clone = "clone"
    freshness = "freshness"
    collateral = "collateral"
    policy = "policy"

    @property
    def exposes(self) -> bool:
        """Whether the code that held keys can no longer be believed (F1)."""
        return self in {FailureClass.integrity, FailureClass.clone}


@unique
class ClockClass(StrEnum):
    """Who controls the clock that ends a lease on the node (F4)."""

    protected = "protected"
    host = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instance: the thumbprint of a key born inside the TEE, and what we know of it.

    `node_id` is the hex SHA-256 of `tls_spki` (DER). `ratchet_*` count generations of the renewal
    secret, which is derived in the keystore and never stored. `terms_sequence` is written only by
    `next_terms_sequence`.
    """

    node_id: str
    state: NodeState
    posture: Posture
    posture_code: str = ""  # the coarse reason code of the posture, empty when compliant
    failure_class: FailureClass | None = None
    tee: str  # sev-snp, tdx, ... as the verifier names it
    instance_value: str  # the format's own instance value (SNP REPORT_ID, ...), lower hex
    platform_id: str | None  # chip id, PPID, ...: many nodes to one, None when not proven
    provider: str | None  # provider identity shown by the evidence (VLEK csp id, ...)
    labels_attested: Labels = ()
    labels_assigned: Labels = ()
    development: bool
    clock: ClockClass
    agent_version: str
    tls_spki: bytes
    hpke_public: bytes
    signing_public: bytes
    terms_sequence: int = 0
    ratchet_confirmed: int = 0
    ratchet_issued: int = 0
    enrolled: datetime
    last_attested: datetime | None = None
    quarantined: datetime | None = None
    predecessor: str | None = None  # node_id of the instance that this one continues


@dataclass(frozen=True, slots=True)
class ReferenceMatch:
    """A reference value, by kind and key, that a node's latest appraisal matched."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvidence:
    """The latest evidence of a node with the digests of all that decided on it.

    Digests are lower hex SHA-256.
    """

    node_id: str
    cmw: bytes  # as it arrived, to re-verify when the verifier or collateral changes (F17)
    evidence_digest: str
    claims: JsonText
    claims_digest: str
    verifier_build: str
    anchors_digest: str
    as_of: datetime
    posture: Posture
    trust_vector: JsonText
    reasons: JsonText
    matches: tuple[ReferenceMatch, ...] = ()  # come back sorted, each once
