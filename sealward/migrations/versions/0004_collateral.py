"""Collateral: accepted pieces, addressed by their digest, and the floors under each key.

Written once and never edited, as 0001. It only adds tables: everything that an installation of the
third schema holds stays as it is.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "collateral",
        _required("tenant", sa.String()),
        _required("digest", sa.String()),
        _required("kind", sa.String()),
        _required("name", sa.String()),
        _required("content", sa.LargeBinary()),
        _required("issuers", sa.LargeBinary()),
        _required("state", sa.String()),
        _required("issued_ms", sa.BigInteger()),
        _required("next_update_ms", sa.BigInteger()),
        sa.Column("number", sa.String()),
        _required("signer", sa.String()),
        _required("development", sa.Boolean()),
        _required("source", sa.String()),
        _required("accepted_ms", sa.BigInteger()),
        _required("entry_id", sa.String()),
        sa.PrimaryKeyConstraint("tenant", "kind", "name", "digest", name="pk_collateral"),
    )
    op.create_index("ix_collateral_tenant_digest", "collateral", ["tenant", "digest"])
    op.create_index(
        "ix_collateral_current",
        "collateral",
        ["tenant", "kind", "name"],
        unique=True,
        sqlite_where=sa.text("state = 'current'"),
        postgresql_where=sa.text("state = 'current'"),
    )
    op.create_table(
        "collateral_floors",
        _required("tenant", sa.String()),
        _required("kind", sa.String()),
        _required("name", sa.String()),
        sa.Column("number", sa.String()),
        _required("issued_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("tenant", "kind", "name", name="pk_collateral_floors"),
    )


def _required(name: str, kind: TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)
