"""The tables, as SQLAlchemy Core objects; sealward/migrations builds the same and a test compares.

A column's `key` is the name of the record's field, so that rows.py can map one to the other; its
name in the database carries the unit (`*_ms`, whole Unix milliseconds). Ids and digests are lower
hex text. The tenant is the first part of every key, except where a table belongs to the whole
installation: the marker, the tenants, and the one audit log.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from sealward.controlplane.adapters.db.columns import (
    DURATION,
    HEX,
    INSTANT,
    LABELS,
    belongs,
    closed,
    column,
    only_active,
    only_where,
    tenant,
)
from sealward.controlplane.domain.activations import ActivationMode, ActivationState
from sealward.controlplane.domain.attempts import AttemptCall
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.decisions import DecisionKind, Outcome
from sealward.controlplane.domain.leases import LeaseState, WipeStatus
from sealward.controlplane.domain.nodes import ClockClass, FailureClass, NodeState
from sealward.controlplane.domain.platforms import PlatformState
from sealward.controlplane.domain.principals import Role
from sealward.controlplane.domain.reference_values import ReferenceSetState, ReferenceValueState
from sealward.controlplane.domain.sweeps import SweepState
from sealward.controlplane.domain.system import SystemKind
from sealward.controlplane.domain.trust_anchors import AnchorKind, AnchorRole
from sealward.controlplane.domain.workloads import ModelState
from sealward.verifier.rats.result import Posture

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


system_marker = Table(
    "system_marker",
    metadata,
    column("only", Integer),  # always 1: there is one row
    column("kind", closed(SystemKind)),
    column("trust_domain", String),
    column("generation", BigInteger),
    column("created_ms", INSTANT),
    PrimaryKeyConstraint("only"),
)

tenants = Table(
    "tenants",
    metadata,
    tenant(),
    column("created_ms", INSTANT),
    PrimaryKeyConstraint("tenant"),
)

principals = Table(
    "principals",
    metadata,
    tenant(),
    column("principal_id", String),
    column("name", String),
    column("created_ms", INSTANT),
    column("disabled_ms", INSTANT, null=True),
    PrimaryKeyConstraint("tenant", "principal_id"),
    Index(None, "tenant", "name", unique=True),
)

role_bindings = Table(
    "role_bindings",
    metadata,
    tenant(),
    column("principal_id", String),
    column("role", closed(Role)),
    PrimaryKeyConstraint("tenant", "principal_id", "role"),
    belongs("principal_id", "principals.principal_id"),
)

service_tokens = Table(
    "service_tokens",
    metadata,
    tenant(),
    column("token_id", String),
    column("principal_id", String),
    column("mac_key_id", String),
    column("secret_mac", LargeBinary),
    column("created_ms", INSTANT),
    column("expires_ms", INSTANT),
    column("revoked_ms", INSTANT, null=True),
    column("single_use", Boolean),
    column("used_ms", INSTANT, null=True),
    PrimaryKeyConstraint("tenant", "token_id"),
    belongs("principal_id", "principals.principal_id"),
)

join_tokens = Table(
    "join_tokens",
    metadata,
    tenant(),
    column("token_id", String),
    column("mac_key_id", String),
    column("secret_mac", LargeBinary),
    column("labels", LABELS),
    column("created_by", String),
    column("created_ms", INSTANT),
    column("expires_ms", INSTANT),
    column("used_ms", INSTANT, null=True),
    column("used_by", String, null=True),
    PrimaryKeyConstraint("tenant", "token_id"),
)

epochs = Table(
    "epochs",
    metadata,
    tenant(),
    column("scope", String),
    column("value", BigInteger),
    PrimaryKeyConstraint("tenant", "scope"),
)

policy_revisions = Table(
    "policy_revisions",
    metadata,
    tenant(),
    column("digest", String),
    column("kind", String),
    column("layer", String),
    column("name", String),
    column("bundle", LargeBinary),
    column("uploaded_by", String),
    column("uploaded_ms", INSTANT),
    PrimaryKeyConstraint("tenant", "digest"),
)

policy_activations = Table(
    "policy_activations",
    metadata,
    tenant(),
    column("activation_id", String),
    column("kind", String),
    column("layer", String),
    column("scope", String),
    column("mode", closed(ActivationMode)),
    column("digest", String),
    column("replaces", String, null=True),
    column("state", closed(ActivationState)),
    column("by", String),
    column("created_ms", INSTANT),
    column("ended_ms", INSTANT, null=True),
    column("entry_id", String),
    PrimaryKeyConstraint("tenant", "activation_id"),
    belongs("digest", "policy_revisions.digest"),
    Index(
        "ux_policy_activations_active",
        *("tenant", "kind", "layer", "scope", "mode"),
        **only_active("state"),
    ),
)

reference_sets = Table(
    "reference_sets",
    metadata,
    tenant(),
    column("name", String),
    column("digest", String),
    column("state", closed(ReferenceSetState)),
    column("not_after_ms", INSTANT, null=True),
    column("imported_by", String),
    column("imported_ms", INSTANT),
    column("entry_id", String),
    PrimaryKeyConstraint("tenant", "name"),
)

reference_values = Table(
    "reference_values",
    metadata,
    tenant(),
    column("set_name", String),
    column("kind", String),
    column("key", String),
    column("value", Text),
    column("state", closed(ReferenceValueState)),
    column("withdrawn_ms", INSTANT, null=True),
    column("withdraw_reason", String),
    PrimaryKeyConstraint("tenant", "set_name", "kind", "key"),
    belongs("set_name", "reference_sets.name"),
    Index(None, "tenant", "kind", "key"),
)

platforms = Table(
    "platforms",
    metadata,
    tenant(),
    column("platform_id", String),
    column("state", closed(PlatformState)),
    column("note", String),
    column("by", String),
    column("changed_ms", INSTANT),
    column("entry_id", String),
    PrimaryKeyConstraint("tenant", "platform_id"),
)

trust_anchors = Table(
    "trust_anchors",
    metadata,
    tenant(),
    column("kind", closed(AnchorKind)),
    column("fingerprint", String),
    column("role", closed(AnchorRole)),
    column("certificate", LargeBinary),
    column("name", String),
    column("subject", String),
    column("not_after_ms", INSTANT),
    column("development", Boolean),
    column("added_by", String),
    column("added_ms", INSTANT),
    column("removed_ms", INSTANT, null=True),
    column("entry_id", String),
    PrimaryKeyConstraint("tenant", "kind", "fingerprint"),
)

nodes = Table(
    "nodes",
    metadata,
    tenant(),
    column("node_id", String),
    column("state", closed(NodeState)),
    column("posture", closed(Posture)),
    column("posture_code", String),
    column("failure_class", closed(FailureClass), null=True),
    column("tee", String),
    column("instance_value", String),
    column("platform_id", String, null=True),
    column("provider", String, null=True),
    column("labels_attested", LABELS),
    column("labels_assigned", LABELS),
    column("development", Boolean),
    column("clock", closed(ClockClass)),
    column("agent_version", String),
    column("tls_spki", LargeBinary),
    column("hpke_public", LargeBinary),
    column("signing_public", LargeBinary),
    column("terms_sequence", BigInteger),
    column("ratchet_confirmed", BigInteger),
    column("ratchet_issued", BigInteger),
    column("enrolled_ms", INSTANT),
    column("last_attested_ms", INSTANT, null=True),
    column("quarantined_ms", INSTANT, null=True),
    column("predecessor", String, null=True),
    PrimaryKeyConstraint("tenant", "node_id"),
    Index(None, "tenant", "platform_id"),
    Index(None, "tenant", "state", "posture"),
)

node_evidence = Table(
    "node_evidence",
    metadata,
    tenant(),
    column("node_id", String),
    column("cmw", LargeBinary),
    column("evidence_digest", String),
    column("claims", Text),
    column("claims_digest", String),
    column("verifier_build", String),
    column("anchors_digest", String),
    column("as_of_ms", INSTANT),
    column("posture", closed(Posture)),
    column("trust_vector", Text),
    column("reasons", Text),
    PrimaryKeyConstraint("tenant", "node_id"),
    belongs("node_id", "nodes.node_id"),
)

runtime_logs = Table(
    "runtime_logs",
    metadata,
    tenant(),
    column("node_id", String),
    column("digest", String),
    column("state", LargeBinary),
    PrimaryKeyConstraint("tenant", "node_id"),
    belongs("node_id", "nodes.node_id"),
)

device_holds = Table(
    "device_holds",
    metadata,
    tenant(),
    column("device", String),
    column("node_id", String),
    column("until_ms", INSTANT),
    PrimaryKeyConstraint("tenant", "device", "node_id"),
    belongs("node_id", "nodes.node_id"),
    Index(None, "tenant", "until"),
)

node_reference_matches = Table(
    "node_reference_matches",
    metadata,
    tenant(),
    column("node_id", String),
    column("kind", String),
    column("key", String),
    PrimaryKeyConstraint("tenant", "node_id", "kind", "key"),
    belongs("node_id", "nodes.node_id"),
    Index(None, "tenant", "kind", "key", "node_id"),
)

decisions = Table(
    "decisions",
    metadata,
    tenant(),
    column("decision_id", String),
    column("node_id", String),  # no foreign key: a refused enrollment has a decision and no node
    column("kind", closed(DecisionKind)),
    column("outcome", closed(Outcome)),
    column("code", String),
    column("posture", closed(Posture), null=True),
    column("trust_vector", Text),
    column("reasons", Text),
    column("input_digests", Text),
    column("correlation_id", String),
    column("decided_ms", INSTANT),
    column("entry_id", String),
    PrimaryKeyConstraint("tenant", "decision_id"),
    Index(None, "tenant", "node_id", "decision_id"),
    Index(None, "tenant", "correlation_id"),
)

attempts = Table(
    "attempts",
    metadata,
    tenant(),
    column("attempt_id", String),
    column("correlation_id", String),
    column("node_id", String),  # no foreign key: of strangers, too
    column("enrolled", Boolean),
    column("call", closed(AttemptCall)),
    column("code", String),
    column("reason", Text),
    column("at_ms", INSTANT),
    PrimaryKeyConstraint("tenant", "attempt_id"),
    Index(None, "tenant", "node_id", "attempt_id"),
    Index(None, "tenant", "enrolled", "attempt_id"),
    Index(None, "tenant", "correlation_id"),
)

workloads = Table(
    "workloads",
    metadata,
    tenant(),
    column("name", String),
    column("data_class", String),
    column("production", Boolean),
    column("ttl_ms", DURATION),
    column("max_instances", Integer, null=True),
    column("selector", Text),
    column("created_ms", INSTANT),
    column("entry_id", String),
    PrimaryKeyConstraint("tenant", "name"),
)

workload_keys = Table(
    "workload_keys",
    metadata,
    tenant(),
    column("workload", String),
    column("version", Integer),
    column("key_id", String),
    column("suite", String),
    column("public", LargeBinary),
    column("wrapped_private", LargeBinary),
    column("created_ms", INSTANT),
    PrimaryKeyConstraint("tenant", "workload", "version"),
    belongs("workload", "workloads.name"),
    Index(None, "tenant", "workload", "key_id", unique=True),
)

workload_creators = Table(
    "workload_creators",
    metadata,
    tenant(),
    column("workload", String),
    column("key_id", String),
    column("public", LargeBinary),
    column("by", String),
    column("added_ms", INSTANT),
    column("entry_id", String),
    PrimaryKeyConstraint("tenant", "workload", "key_id"),
    belongs("workload", "workloads.name"),
)

models = Table(
    "models",
    metadata,
    tenant(),
    column("workload", String),
    column("name", String),
    column("version", Integer),
    column("core_digest", String),
    column("signed_digest", String),
    column("content_key_id", String),
    column("creator_key_id", String),
    column("registration", LargeBinary),
    column("state", closed(ModelState)),
    column("registered_ms", INSTANT),
    column("entry_id", String),
    PrimaryKeyConstraint("tenant", "workload", "name", "version"),
    belongs("workload", "workloads.name"),
)

leases = Table(
    "leases",
    metadata,
    tenant(),
    column("lease_id", String),
    column("node_id", String),
    column("workload", String),
    column("state", closed(LeaseState)),
    column("granted_ms", INSTANT),
    column("challenge_issued_ms", INSTANT),
    column("not_after_ms", INSTANT),
    column("horizon_cause", String),
    column("ended_ms", INSTANT, null=True),
    column("end_cause", String),
    column("exposure", String),
    column("exposure_until_ms", INSTANT, null=True),
    column("exposure_reason", String, null=True),
    column("sequence", BigInteger),
    column("epoch_digest", String),
    PrimaryKeyConstraint("tenant", "lease_id"),
    belongs("node_id", "nodes.node_id"),
    belongs("workload", "workloads.name"),
    Index("ux_leases_active", "tenant", "node_id", "workload", **only_active("state")),
    Index(None, "tenant", "node_id", "lease_id"),
    Index(None, "tenant", "workload", "state"),
    Index(None, "tenant", "state", "not_after"),
)

lease_models = Table(
    "lease_models",
    metadata,
    tenant(),
    column("lease_id", String),
    column("model", String),
    column("version", Integer),
    column("content_key_id", String),
    PrimaryKeyConstraint("tenant", "lease_id", "model", "version"),
    belongs("lease_id", "leases.lease_id"),
    Index(None, "tenant", "model", "version", "lease_id"),
)

signed_terms = Table(
    "signed_terms",
    metadata,
    tenant(),
    column("node_id", String),
    column("sequence", BigInteger),
    column("kind", String),
    column("cose", LargeBinary),
    column("created_ms", INSTANT),
    PrimaryKeyConstraint("tenant", "node_id", "sequence"),
    belongs("node_id", "nodes.node_id"),
)

wipe_statements = Table(
    "wipe_statements",
    metadata,
    tenant(),
    column("node_id", String),
    column("statement_id", String),
    column("sequence", BigInteger),
    column("cose", LargeBinary),
    column("received_ms", INSTANT),
    column("status", closed(WipeStatus)),
    PrimaryKeyConstraint("tenant", "node_id", "statement_id"),
    belongs("node_id", "nodes.node_id"),
)

spent_challenges = Table(
    "spent_challenges",
    metadata,
    tenant(),
    column("nonce_hash", String),
    column("expires_ms", INSTANT),
    PrimaryKeyConstraint("tenant", "nonce_hash"),
    Index(None, "tenant", "expires"),
)

sweeps = Table(
    "sweeps",
    metadata,
    tenant(),
    column("sweep_id", String),
    column("cause", Text),
    column("scope", String),
    column("epoch", BigInteger),
    column("cursor", String, null=True),
    column("state", closed(SweepState)),
    column("started_ms", INSTANT),
    column("done_ms", INSTANT, null=True),
    column("affected", BigInteger),
    PrimaryKeyConstraint("tenant", "sweep_id"),
    Index(None, "tenant", "state"),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    # The order of arrival, which the sequencer keeps: entries of one unit of work share an instant.
    Column("arrival", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    column("entry_id", String),
    tenant(),
    column("kind", closed(AuditKind)),
    column("created_ms", INSTANT),
    column("body", Text),
    column("salt", LargeBinary),
    column("leaf_hash", HEX),
    column("log_index", BigInteger, null=True),
    Index(None, "entry_id", unique=True),
    Index(None, "tenant", "entry_id"),
    Index(None, "log_index", unique=True),
    Index("ix_audit_entries_unsequenced", "arrival", **only_where("log_index IS NULL")),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    column("size", BigInteger),
    column("root", HEX),
    column("note", Text),
    column("created_ms", INSTANT),
    PrimaryKeyConstraint("size"),
)
