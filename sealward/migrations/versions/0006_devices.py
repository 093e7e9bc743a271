"""Devices beside machines: which node holds which.

Written once and never edited, as 0001. It only adds a table: everything that an installation of the
schema before holds stays as it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "device_holds",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "device", "node_id", name="pk_device_holds"),
        sa.ForeignKeyConstraint(
            ["tenant", "node_id"],
            ["nodes.tenant", "nodes.node_id"],
            name="fk_device_holds_nodes",
        ),
    )
    op.create_index("ix_device_holds_tenant_until_ms", "device_holds", ["tenant", "until_ms"])
