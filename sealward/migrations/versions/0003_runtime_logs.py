"""Runtime logs: what is kept of each node's measurement list between two attestations.

Written once and never edited, as 0001. It only adds a table: everything that an installation of the
second schema holds stays as it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "runtime_logs",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "node_id", name="pk_runtime_logs"),
        sa.ForeignKeyConstraint(
            ["tenant", "node_id"],
            ["nodes.tenant", "nodes.node_id"],
            name="fk_runtime_logs_nodes",
        ),
    )
