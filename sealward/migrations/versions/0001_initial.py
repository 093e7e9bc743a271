"""The first schema: every table of the main job.

Written once and never edited: adapters/db/tables.py moves on, this file does not. There is no
downgrade, because going back would drop records that the audit log speaks of; restore a backup.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table; a table comes after those that its foreign keys name."""
    _create_installation()
    _create_principals()
    _create_join_tokens()
    _create_policies()
    _create_reference_values()
    _create_platforms()
    _create_nodes()
    _create_evidence()
    _create_decisions()
    _create_workloads()
    _create_leases()
    _create_terms()
    _create_audit()


def _required(name: str, kind: TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _belongs(table: str, column: str, to: str, to_column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant", column], [f"{to}.tenant", f"{to}.{to_column}"], name=f"fk_{table}_{to}"
    )


def _index(table: str, *columns: str, unique: bool = False) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns), unique=unique)


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool) -> None:
    condition = sa.text(where)
    op.create_index(
        name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition
    )


def _create_installation() -> None:
    op.create_table(
        "system_marker",
        _required("only", sa.Integer()),
        _required("kind", sa.String()),
        _required("trust_domain", sa.String()),
        _required("generation", sa.BigInteger()),
        _required("created_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("only", name="pk_system_marker"),
    )
    op.create_table(
        "tenants",
        _required("tenant", sa.String()),
        _required("created_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("tenant", name="pk_tenants"),
    )
    op.create_table(
        "epochs",
        _required("tenant", sa.String()),
        _required("scope", sa.String()),
        _required("value", sa.BigInteger()),
        sa.PrimaryKeyConstraint("tenant", "scope", name="pk_epochs"),
    )


def _create_principals() -> None:
    op.create_table(
        "principals",
        _required("tenant", sa.String()),
        _required("principal_id", sa.String()),
        _required("name", sa.String()),
        _required("created_ms", sa.BigInteger()),
        sa.Column("disabled_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("tenant", "principal_id", name="pk_principals"),
    )
    _index("principals", "tenant", "name", unique=True)
    op.create_table(
        "role_bindings",
        _required("tenant", sa.String()),
        _required("principal_id", sa.String()),
        _required("role", sa.String()),
        _belongs("role_bindings", "principal_id", "principals", "principal_id"),
        sa.PrimaryKeyConstraint("tenant", "principal_id", "role", name="pk_role_bindings"),
    )
    op.create_table(
        "service_tokens",
        _required("tenant", sa.String()),
        _required("token_id", sa.String()),
        _required("principal_id", sa.String()),
        _required("mac_key_id", sa.String()),
        _required("secret_mac", sa.LargeBinary()),
        _required("created_ms", sa.BigInteger()),
        _required("expires_ms", sa.BigInteger()),
        sa.Column("revoked_ms", sa.BigInteger()),
        _required("single_use", sa.Boolean()),
        sa.Column("used_ms", sa.BigInteger()),
        _belongs("service_tokens", "principal_id", "principals", "principal_id"),
        sa.PrimaryKeyConstraint("tenant", "token_id", name="pk_service_tokens"),
    )


def _create_join_tokens() -> None:
    op.create_table(
        "join_tokens",
        _required("tenant", sa.String()),
        _required("token_id", sa.String()),
        _required("mac_key_id", sa.String()),
        _required("secret_mac", sa.LargeBinary()),
        _required("labels", sa.String()),
        _required("created_by", sa.String()),
        _required("created_ms", sa.BigInteger()),
        _required("expires_ms", sa.BigInteger()),
        sa.Column("used_ms", sa.BigInteger()),
        sa.Column("used_by", sa.String()),
        sa.PrimaryKeyConstraint("tenant", "token_id", name="pk_join_tokens"),
    )
    op.create_table(
        "spent_challenges",
        _required("tenant", sa.String()),
        _required("nonce_hash", sa.String()),
        _required("expires_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("tenant", "nonce_hash", name="pk_spent_challenges"),
    )
    _index("spent_challenges", "tenant", "expires_ms")


def _create_policies() -> None:
    op.create_table(
        "policy_revisions",
        _required("tenant", sa.String()),
        _required("digest", sa.String()),
        _required("kind", sa.String()),
        _required("layer", sa.String()),
        _required("name", sa.String()),
        _required("bundle", sa.LargeBinary()),
        _required("uploaded_by", sa.String()),
        _required("uploaded_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("tenant", "digest", name="pk_policy_revisions"),
    )
    op.create_table(
        "policy_activations",
        _required("tenant", sa.String()),
        _required("activation_id", sa.String()),
        _required("kind", sa.String()),
        _required("layer", sa.String()),
        _required("scope", sa.String()),
        _required("mode", sa.String()),
        _required("digest", sa.String()),
        sa.Column("replaces", sa.String()),
        _required("state", sa.String()),
        _required("by", sa.String()),
        _required("created_ms", sa.BigInteger()),
        sa.Column("ended_ms", sa.BigInteger()),
        _required("entry_id", sa.String()),
        _belongs("policy_activations", "digest", "policy_revisions", "digest"),
        sa.PrimaryKeyConstraint("tenant", "activation_id", name="pk_policy_activations"),
    )
    _partial_index(
        "ux_policy_activations_active",
        "policy_activations",
        ["tenant", "kind", "layer", "scope", "mode"],
        "state = 'active'",
        unique=True,
    )


def _create_reference_values() -> None:
    op.create_table(
        "reference_sets",
        _required("tenant", sa.String()),
        _required("name", sa.String()),
        _required("digest", sa.String()),
        _required("state", sa.String()),
        sa.Column("not_after_ms", sa.BigInteger()),
        _required("imported_by", sa.String()),
        _required("imported_ms", sa.BigInteger()),
        _required("entry_id", sa.String()),
        sa.PrimaryKeyConstraint("tenant", "name", name="pk_reference_sets"),
    )
    op.create_table(
        "reference_values",
        _required("tenant", sa.String()),
        _required("set_name", sa.String()),
        _required("kind", sa.String()),
        _required("key", sa.String()),
        _required("value", sa.Text()),
        _required("state", sa.String()),
        sa.Column("withdrawn_ms", sa.BigInteger()),
        _required("withdraw_reason", sa.String()),
        _belongs("reference_values", "set_name", "reference_sets", "name"),
        sa.PrimaryKeyConstraint("tenant", "set_name", "kind", "key", name="pk_reference_values"),
    )
    _index("reference_values", "tenant", "kind", "key")


def _create_platforms() -> None:
    op.create_table(
        "platforms",
        _required("tenant", sa.String()),
        _required("platform_id", sa.String()),
        _required("state", sa.String()),
        _required("note", sa.String()),
        _required("by", sa.String()),
        _required("changed_ms", sa.BigInteger()),
        _required("entry_id", sa.String()),
        sa.PrimaryKeyConstraint("tenant", "platform_id", name="pk_platforms"),
    )
    op.create_table(
        "sweeps",
        _required("tenant", sa.String()),
        _required("sweep_id", sa.String()),
        _required("cause", sa.Text()),
        _required("scope", sa.String()),
        _required("epoch", sa.BigInteger()),
        sa.Column("cursor", sa.String()),
        _required("state", sa.String()),
        _required("started_ms", sa.BigInteger()),
        sa.Column("done_ms", sa.BigInteger()),
        _required("affected", sa.BigInteger()),
        sa.PrimaryKeyConstraint("tenant", "sweep_id", name="pk_sweeps"),
    )
    _index("sweeps", "tenant", "state")


def _create_nodes() -> None:
    op.create_table(
        "nodes",
        _required("tenant", sa.String()),
        _required("node_id", sa.String()),
        _required("state", sa.String()),
        _required("posture", sa.String()),
        _required("posture_code", sa.String()),
        sa.Column("failure_class", sa.String()),
        _required("tee", sa.String()),
        _required("instance_value", sa.String()),
        sa.Column("platform_id", sa.String()),
        sa.Column("provider", sa.String()),
        _required("labels_attested", sa.String()),
        _required("labels_assigned", sa.String()),
        _required("development", sa.Boolean()),
        _required("clock", sa.String()),
        _required("agent_version", sa.String()),
        _required("tls_spki", sa.LargeBinary()),
        _required("hpke_public", sa.LargeBinary()),
        _required("signing_public", sa.LargeBinary()),
        _required("terms_sequence", sa.BigInteger()),
        _required("ratchet_confirmed", sa.BigInteger()),
        _required("ratchet_issued", sa.BigInteger()),
        _required("enrolled_ms", sa.BigInteger()),
        sa.Column("last_attested_ms", sa.BigInteger()),
        sa.Column("quarantined_ms", sa.BigInteger()),
        sa.Column("predecessor", sa.String()),
        sa.PrimaryKeyConstraint("tenant", "node_id", name="pk_nodes"),
    )
    _index("nodes", "tenant", "platform_id")
    _index("nodes", "tenant", "state", "posture")


def _create_evidence() -> None:
    op.create_table(
        "node_evidence",
        _required("tenant", sa.String()),
        _required("node_id", sa.String()),
        _required("cmw", sa.LargeBinary()),
        _required("evidence_digest", sa.String()),
        _required("claims", sa.Text()),
        _required("claims_digest", sa.String()),
        _required("verifier_build", sa.String()),
        _required("anchors_digest", sa.String()),
        _required("as_of_ms", sa.BigInteger()),
        _required("posture", sa.String()),
        _required("trust_vector", sa.Text()),
        _required("reasons", sa.Text()),
        _belongs("node_evidence", "node_id", "nodes", "node_id"),
        sa.PrimaryKeyConstraint("tenant", "node_id", name="pk_node_evidence"),
    )
    op.create_table(
        "node_reference_matches",
        _required("tenant", sa.String()),
        _required("node_id", sa.String()),
        _required("kind", sa.String()),
        _required("key", sa.String()),
        _belongs("node_reference_matches", "node_id", "nodes", "node_id"),
        sa.PrimaryKeyConstraint(
            "tenant", "node_id", "kind", "key", name="pk_node_reference_matches"
        ),
    )
    _index("node_reference_matches", "tenant", "kind", "key", "node_id")


def _create_decisions() -> None:
    op.create_table(
        "decisions",
        _required("tenant", sa.String()),
        _required("decision_id", sa.String()),
        _required("node_id", sa.String()),
        _required("kind", sa.String()),
        _required("outcome", sa.String()),
        _required("code", sa.String()),
        sa.Column("posture", sa.String()),
        _required("trust_vector", sa.Text()),
        _required("reasons", sa.Text()),
        _required("input_digests", sa.Text()),
        _required("correlation_id", sa.String()),
        _required("decided_ms", sa.BigInteger()),
        _required("entry_id", sa.String()),
        sa.PrimaryKeyConstraint("tenant", "decision_id", name="pk_decisions"),
    )
    _index("decisions", "tenant", "node_id", "decision_id")


def _create_workloads() -> None:
    op.create_table(
        "workloads",
        _required("tenant", sa.String()),
        _required("name", sa.String()),
        _required("data_class", sa.String()),
        _required("production", sa.Boolean()),
        _required("ttl_ms", sa.BigInteger()),
        sa.Column("max_instances", sa.Integer()),
        _required("selector", sa.Text()),
        _required("created_ms", sa.BigInteger()),
        _required("entry_id", sa.String()),
        sa.PrimaryKeyConstraint("tenant", "name", name="pk_workloads"),
    )
    op.create_table(
        "workload_keys",
        _required("tenant", sa.String()),
        _required("workload", sa.String()),
        _required("version", sa.Integer()),
        _required("key_id", sa.String()),
        _required("suite", sa.String()),
        _required("public", sa.LargeBinary()),
        _required("wrapped_private", sa.LargeBinary()),
        _required("created_ms", sa.BigInteger()),
        _belongs("workload_keys", "workload", "workloads", "name"),
        sa.PrimaryKeyConstraint("tenant", "workload", "version", name="pk_workload_keys"),
    )
    _index("workload_keys", "tenant", "workload", "key_id", unique=True)
    op.create_table(
        "workload_creators",
        _required("tenant", sa.String()),
        _required("workload", sa.String()),
        _required("key_id", sa.String()),
        _required("public", sa.LargeBinary()),
        _required("by", sa.String()),
        _required("added_ms", sa.BigInteger()),
        _required("entry_id", sa.String()),
        _belongs("workload_creators", "workload", "workloads", "name"),
        sa.PrimaryKeyConstraint("tenant", "workload", "key_id", name="pk_workload_creators"),
    )
    op.create_table(
        "models",
        _required("tenant", sa.String()),
        _required("workload", sa.String()),
        _required("name", sa.String()),
        _required("version", sa.Integer()),
        _required("core_digest", sa.String()),
        _required("signed_digest", sa.String()),
        _required("content_key_id", sa.String()),
        _required("creator_key_id", sa.String()),
        _required("registration", sa.LargeBinary()),
        _required("state", sa.String()),
        _required("registered_ms", sa.BigInteger()),
        _required("entry_id", sa.String()),
        _belongs("models", "workload", "workloads", "name"),
        sa.PrimaryKeyConstraint("tenant", "workload", "name", "version", name="pk_models"),
    )


def _create_leases() -> None:
    op.create_table(
        "leases",
        _required("tenant", sa.String()),
        _required("lease_id", sa.String()),
        _required("node_id", sa.String()),
        _required("workload", sa.String()),
        _required("state", sa.String()),
        _required("granted_ms", sa.BigInteger()),
        _required("challenge_issued_ms", sa.BigInteger()),
        _required("not_after_ms", sa.BigInteger()),
        _required("horizon_cause", sa.String()),
        sa.Column("ended_ms", sa.BigInteger()),
        _required("end_cause", sa.String()),
        _required("exposure", sa.String()),
        sa.Column("exposure_until_ms", sa.BigInteger()),
        sa.Column("exposure_reason", sa.String()),
        _required("sequence", sa.BigInteger()),
        _required("epoch_digest", sa.String()),
        _belongs("leases", "node_id", "nodes", "node_id"),
        _belongs("leases", "workload", "workloads", "name"),
        sa.PrimaryKeyConstraint("tenant", "lease_id", name="pk_leases"),
    )
    _index("leases", "tenant", "node_id", "lease_id")
    _index("leases", "tenant", "state", "not_after_ms")
    _index("leases", "tenant", "workload", "state")
    _partial_index(
        "ux_leases_active",
        "leases",
        ["tenant", "node_id", "workload"],
        "state = 'active'",
        unique=True,
    )
    op.create_table(
        "lease_models",
        _required("tenant", sa.String()),
        _required("lease_id", sa.String()),
        _required("model", sa.String()),
        _required("version", sa.Integer()),
        _required("content_key_id", sa.String()),
        _belongs("lease_models", "lease_id", "leases", "lease_id"),
        sa.PrimaryKeyConstraint("tenant", "lease_id", "model", "version", name="pk_lease_models"),
    )
    _index("lease_models", "tenant", "model", "version", "lease_id")


def _create_terms() -> None:
    op.create_table(
        "signed_terms",
        _required("tenant", sa.String()),
        _required("node_id", sa.String()),
        _required("sequence", sa.BigInteger()),
        _required("kind", sa.String()),
        _required("cose", sa.LargeBinary()),
        _required("created_ms", sa.BigInteger()),
        _belongs("signed_terms", "node_id", "nodes", "node_id"),
        sa.PrimaryKeyConstraint("tenant", "node_id", "sequence", name="pk_signed_terms"),
    )
    op.create_table(
        "wipe_statements",
        _required("tenant", sa.String()),
        _required("node_id", sa.String()),
        _required("statement_id", sa.String()),
        _required("sequence", sa.BigInteger()),
        _required("cose", sa.LargeBinary()),
        _required("received_ms", sa.BigInteger()),
        _required("status", sa.String()),
        _belongs("wipe_statements", "node_id", "nodes", "node_id"),
        sa.PrimaryKeyConstraint("tenant", "node_id", "statement_id", name="pk_wipe_statements"),
    )


def _create_audit() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("arrival", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        _required("entry_id", sa.String()),
        _required("tenant", sa.String()),
        _required("kind", sa.String()),
        _required("created_ms", sa.BigInteger()),
        _required("body", sa.Text()),
        _required("salt", sa.LargeBinary()),
        _required("leaf_hash", sa.String()),
        sa.Column("log_index", sa.BigInteger()),
        sa.PrimaryKeyConstraint("arrival", name="pk_audit_entries"),
    )
    _index("audit_entries", "entry_id", unique=True)
    _index("audit_entries", "log_index", unique=True)
    _index("audit_entries", "tenant", "entry_id")
    _partial_index(
        "ix_audit_entries_unsequenced",
        "audit_entries",
        ["arrival"],
        "log_index IS NULL",
        unique=False,
    )
    op.create_table(
        "audit_checkpoints",
        _required("size", sa.BigInteger()),
        _required("root", sa.String()),
        _required("note", sa.Text()),
        _required("created_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("size", name="pk_audit_checkpoints"),
    )
