"""A real database in a temporary folder, a clock that stands still, one record of each kind."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sealward.controlplane.adapters.db import schema
from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.domain.activations import (
    ActivationMode,
    ActivationState,
    PolicyActivation,
    PolicyRevision,
)
from sealward.controlplane.domain.audit import AuditEntry, AuditKind, entry
from sealward.controlplane.domain.decisions import Decision, DecisionKind, Outcome
from sealward.controlplane.domain.errors import Code, DomainError
from sealward.controlplane.domain.leases import (
    Bounded,
    Exposure,
    Lease,
    LeaseState,
    SignedTerms,
    WipeStatement,
    WipeStatus,
)
from sealward.controlplane.domain.nodes import (
    ClockClass,
    Node,
    NodeEvidence,
    NodeState,
    ReferenceMatch,
)
from sealward.controlplane.domain.platforms import Platform, PlatformState
from sealward.controlplane.domain.principals import JoinToken, Principal, Role, ServiceToken
from sealward.controlplane.domain.records import JsonText
from sealward.controlplane.domain.reference_values import (
    ReferenceSet,
    ReferenceSetState,
    ReferenceValue,
)
from sealward.controlplane.domain.runtime_logs import KeptRuntimeLog
from sealward.controlplane.domain.sweeps import Sweep, SweepState
from sealward.controlplane.domain.trust_anchors import AnchorKind, AnchorRole, TrustAnchor
from sealward.controlplane.domain.workloads import (
    Creator,
    ModelState,
    ModelVersion,
    Workload,
    WorkloadKey,
)
from sealward.verifier.rats.result import Posture

NOW = datetime(2026, 9, 1, 12, 0, 0, 250_000, tzinfo=UTC)
EMPTY = JsonText("{}")


class ManualClock:
    """services.ports.Clock that stands still until it is advanced."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic_ns(self) -> int:
        return (self._now - NOW) // timedelta(microseconds=1) * 1000

    def advance(self, duration: timedelta) -> None:
        self._now += duration


def database_url(folder: Path) -> str:
    """Return the URL of a database file in `folder`; nothing is created."""
    return f"sqlite:///{folder / 'state.db'}"


@cache
def _migrated() -> bytes:
    """Return the file that the migrations make; they run once for all tests of a process."""
    with TemporaryDirectory() as folder:
        schema.migrate(database_url(Path(folder)))
        return (Path(folder) / "state.db").read_bytes()


def open_database(folder: Path, tenant: str = "default") -> SqliteDatabase:
    """Return a migrated database in `folder`; the caller closes it."""
    path = folder / "state.db"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(_migrated())
    return SqliteDatabase(database_url(folder), tenant=tenant)


def code_of(call: Callable[[], object], kind: type[DomainError]) -> Code:
    """Return the code of the refusal of this kind that `call` raises."""
    with pytest.raises(kind) as caught:
        call()
    return caught.value.code


def hex_id(name: str) -> str:
    """Return a stable 64-digit id."""
    return hashlib.sha256(name.encode()).hexdigest()


def a_node(name: str = "node", **changes: object) -> Node:
    fields: dict[str, object] = {
        "node_id": hex_id(name),
        "state": NodeState.admitted,
        "posture": Posture.COMPLIANT,
        "tee": "sev-snp",
        "instance_value": hex_id(name + " report id"),
        "platform_id": hex_id("chip"),
        "provider": None,
        "labels_attested": (("region", "eu"), ("tee", "snp")),
        "labels_assigned": (("class", "prod"),),
        "development": False,
        "clock": ClockClass.host,
        "agent_version": "0.1.0",
        "tls_spki": name.encode(),
        "hpke_public": bytes(32),
        "signing_public": bytes(32),
        "enrolled": NOW,
    }
    return Node(**{**fields, **changes})  # type: ignore[arg-type]  # a factory of keywords


def an_evidence(name: str = "node", **changes: object) -> NodeEvidence:
    fields: dict[str, object] = {
        "node_id": hex_id(name),
        "cmw": b"\x82evidence",
        "evidence_digest": hex_id("evidence"),
        "claims": JsonText('{"tee":"sev-snp"}'),
        "claims_digest": hex_id("claims"),
        "verifier_build": "sealward 0.1.0",
        "anchors_digest": hex_id("anchors"),
        "as_of": NOW,
        "posture": Posture.COMPLIANT,
        "trust_vector": JsonText('{"hardware":2}'),
        "reasons": JsonText("[]"),
        "matches": (ReferenceMatch("snp.measurement", "aa" * 48),),
    }
    return NodeEvidence(**{**fields, **changes})  # type: ignore[arg-type]  # as above


def a_workload(name: str = "classify") -> Workload:
    return Workload(
        name=name,
        data_class="internal",
        production=True,
        ttl=timedelta(seconds=15),
        max_instances=3,
        selector=JsonText('{"class":"prod"}'),
        created=NOW,
        entry_id=hex_id("entry"),
    )


def a_workload_key(workload: str = "classify", version: int = 1) -> WorkloadKey:
    return WorkloadKey(
        workload=workload,
        version=version,
        key_id=hex_id(f"{workload} {version}")[:16],
        suite="x25519",
        public=bytes(32),
        wrapped_private=b"\x01wrapped",
        created=NOW,
    )


def a_creator(workload: str = "classify") -> Creator:
    return Creator(
        workload=workload,
        key_id=hex_id("creator"),
        public=b"\x00\x01public",
        by="alice",
        added=NOW,
        entry_id=hex_id("entry"),
    )


def a_model(workload: str = "classify", name: str = "magika", version: int = 1) -> ModelVersion:
    return ModelVersion(
        workload=workload,
        name=name,
        version=version,
        core_digest=hex_id("core"),
        signed_digest=hex_id("signed"),
        content_key_id=hex_id("content key")[:32],
        creator_key_id=hex_id("creator"),
        registration=b"header",
        state=ModelState.active,
        registered=NOW,
        entry_id=hex_id("entry"),
    )


def a_lease(
    lease_id: str = "lease-1",
    node: str = "node",
    workload: str = "classify",
    exposure: Exposure | None = None,
    **changes: object,
) -> Lease:
    fields: dict[str, object] = {
        "lease_id": lease_id,
        "node_id": hex_id(node),
        "workload": workload,
        "state": LeaseState.active,
        "granted": NOW,
        "challenge_issued": NOW - timedelta(seconds=1),
        "not_after": NOW + timedelta(seconds=15),
        "horizon_cause": "ttl",
        "exposure": exposure or Bounded(NOW + timedelta(seconds=15)),
        "sequence": 1,
        "epoch_digest": hex_id("epochs"),
    }
    return Lease(**{**fields, **changes})  # type: ignore[arg-type]  # as above


def a_wipe(statement_id: str = "wipe-1") -> WipeStatement:
    return WipeStatement(
        node_id=hex_id("node"),
        statement_id=statement_id,
        sequence=2,
        cose=b"cose",
        received=NOW,
        status=WipeStatus.claimed,
    )


def some_terms(sequence: int = 1) -> SignedTerms:
    return SignedTerms(
        node_id=hex_id("node"), sequence=sequence, kind="grant", cose=b"cose", created=NOW
    )


def a_set(name: str = "golden", **changes: object) -> ReferenceSet:
    fields: dict[str, object] = {
        "name": name,
        "digest": hex_id(name),
        "state": ReferenceSetState.active,
        "not_after": NOW + timedelta(days=30),
        "imported_by": "alice",
        "imported": NOW,
        "entry_id": hex_id("entry"),
    }
    return ReferenceSet(**{**fields, **changes})  # type: ignore[arg-type]  # as above


def a_value(key: str = "aa" * 48, set_name: str = "golden") -> ReferenceValue:
    return ReferenceValue(
        set_name=set_name,
        kind="snp.measurement",
        key=key,
        value=JsonText('{"agent":"0.1.0"}'),
    )


def a_revision(name: str = "first") -> PolicyRevision:
    return PolicyRevision(
        digest=hex_id(name),
        kind="appraisal",
        layer="organisation",
        name=name,
        bundle=b"bundle",
        uploaded_by="alice",
        uploaded=NOW,
    )


def an_activation(
    activation_id: str, revision: str = "first", replaces: str | None = None
) -> PolicyActivation:
    return PolicyActivation(
        activation_id=activation_id,
        kind="appraisal",
        layer="organisation",
        scope="*",
        mode=ActivationMode.enforce,
        digest=hex_id(revision),
        replaces=replaces,
        state=ActivationState.active,
        by="alice",
        created=NOW,
        entry_id=hex_id("entry"),
    )


def a_platform(name: str = "chip") -> Platform:
    return Platform(
        platform_id=hex_id(name),
        state=PlatformState.allowed,
        note="rack 4",
        by="alice",
        changed=NOW,
        entry_id=hex_id("entry"),
    )


def a_runtime_log(name: str = "node", state: bytes = b"state") -> KeptRuntimeLog:
    return KeptRuntimeLog.of(hex_id(name), state)


def a_trust_anchor(name: str = "root", **changes: object) -> TrustAnchor:
    fields: dict[str, object] = {
        "kind": AnchorKind.tpm_ek,
        "fingerprint": hex_id(name),
        "role": AnchorRole.root,
        "certificate": name.encode(),
        "name": "rack 4",
        "subject": f"CN={name}",
        "not_after": NOW + timedelta(days=365),
        "development": True,
        "added_by": "alice",
        "added": NOW,
        "entry_id": hex_id("entry"),
    }
    return TrustAnchor(**{**fields, **changes})  # type: ignore[arg-type]  # as above


def a_principal(name: str = "alice") -> Principal:
    return Principal(
        principal_id=f"p-{name}", name=name, roles=(Role.admin, Role.auditor), created=NOW
    )


def a_token(name: str = "token-1") -> ServiceToken:
    return ServiceToken(
        token_id=name,
        principal_id="p-alice",
        mac_key_id="00" * 8,
        secret_mac=bytes(32),
        created=NOW,
        expires=NOW + timedelta(hours=1),
        single_use=True,
    )


def a_join_token(name: str = "join-1") -> JoinToken:
    return JoinToken(
        token_id=name,
        mac_key_id="00" * 8,
        secret_mac=bytes(32),
        labels=(("class", "prod"),),
        created_by="alice",
        created=NOW,
        expires=NOW + timedelta(hours=1),
    )


def a_decision(decision_id: str = "decision-1", node: str = "node") -> Decision:
    return Decision(
        decision_id=decision_id,
        node_id=hex_id(node),
        kind=DecisionKind.enroll,
        outcome=Outcome.refused,
        code="platform_denied",
        posture=None,
        trust_vector=EMPTY,
        reasons=JsonText("[]"),
        input_digests=EMPTY,
        correlation_id="c-1",
        decided=NOW,
        entry_id=hex_id("entry"),
    )


def a_sweep(sweep_id: str = "sweep-1") -> Sweep:
    return Sweep(
        sweep_id=sweep_id,
        cause=JsonText('{"withdrawn":"aa"}'),
        scope="reference:golden",
        epoch=1,
        cursor=None,
        state=SweepState.running,
        started=NOW,
    )


def an_entry(number: int = 0, now: datetime = NOW) -> AuditEntry:
    return entry(
        AuditKind.node_attested,
        {"number": number},
        now=now,
        random_bytes=secrets.token_bytes,
    )
