"""Explanations: attempts that were refused before a decision, and decisions by correlation id.

Written once and never edited, as 0001. It only adds a table and an index: everything that an
installation of the schema before holds stays as it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "attempts",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("attempt_id", sa.String(), nullable=False),
        sa.Column("correlation_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("enrolled", sa.Boolean(), nullable=False),
        sa.Column("call", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "attempt_id", name="pk_attempts"),
    )
    op.create_index(
        "ix_attempts_tenant_node_id_attempt_id", "attempts", ["tenant", "node_id", "attempt_id"]
    )
    op.create_index(
        "ix_attempts_tenant_enrolled_attempt_id", "attempts", ["tenant", "enrolled", "attempt_id"]
    )
    op.create_index("ix_attempts_tenant_correlation_id", "attempts", ["tenant", "correlation_id"])
    op.create_index("ix_decisions_tenant_correlation_id", "decisions", ["tenant", "correlation_id"])
