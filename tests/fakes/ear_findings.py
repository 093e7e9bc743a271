"""What a control plane has on record of a node, for tests of the results that it makes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fakes.admin_plane import NODE_ID

from sealward.controlplane.domain.decisions import Decision, DecisionKind, Outcome
from sealward.controlplane.domain.nodes import NodeEvidence
from sealward.controlplane.domain.records import JsonText
from sealward.controlplane.services.attestation_results import Finding
from sealward.verifier.rats.result import Posture
from sealward.verifier.wire import json

GOOD = {
    "instance-identity": 2,
    "configuration": 2,
    "executables": 2,
    "file-system": 0,
    "hardware": 2,
    "runtime-opaque": 2,
    "storage-opaque": 0,
    "sourced-data": 0,
}
DIGESTS = {
    "policy:appraisal/organisation": "0a" * 32,
    "policy:release/organisation": "0b" * 32,
    "reference": "0c" * 32,
    "epochs": {"reference": 3},
}


def text(value: Any) -> JsonText:  # noqa: ANN401 - any JSON
    return JsonText(json.canonical(value).decode())


def evidence_of(now: datetime, *, devices: tuple[str, ...] = (), **claims: Any) -> NodeEvidence:  # noqa: ANN401
    """Return evidence as of `now`."""
    collateral = {
        "not_before": now.isoformat(),
        "not_after": (now + timedelta(days=30)).isoformat(),
        "revocation": "absent",
    }
    document = {"tee": "snp", "development": False, "collateral": collateral, **claims}
    if devices:
        document["submods"] = {label: {"collateral": collateral} for label in devices}
    return NodeEvidence(
        node_id=NODE_ID,
        cmw=b"evidence",
        evidence_digest="01" * 32,
        claims=text(document),
        claims_digest="02" * 32,
        verifier_build="sealward 0 sha256:03",
        anchors_digest="04" * 32,
        as_of=now,
        posture=Posture.COMPLIANT,
        trust_vector=text(GOOD),
        reasons=text([]),
    )


def decision_of(now: datetime, vector: dict[str, Any] | None = None) -> Decision:
    """Return the decision that appraised it."""
    return Decision(
        decision_id="0d" * 16,
        node_id=NODE_ID,
        kind=DecisionKind.attest,
        outcome=Outcome.passed,
        code="",
        posture=Posture.COMPLIANT,
        trust_vector=text(GOOD if vector is None else vector),
        reasons=text([]),
        input_digests=text(DIGESTS),
        correlation_id="c0ffee",
        decided=now,
        entry_id="0e" * 16,
    )


def finding_of(
    now: datetime,
    tls_spki: bytes,
    *,
    vector: dict[str, Any] | None = None,
    posture: Posture = Posture.COMPLIANT,
    devices: tuple[str, ...] = (),
    **claims: Any,  # noqa: ANN401
) -> Finding:
    """Return what a result is made of."""
    return Finding(
        tls_spki=tls_spki,
        decision=decision_of(now, vector),
        evidence=evidence_of(now, devices=devices, **claims),
        posture=posture,
        until=now + timedelta(minutes=5),
    )
