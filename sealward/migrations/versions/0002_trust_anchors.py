"""Trust anchors: roots and intermediates of TPM endorsement keys that a tenant adds.

Written once and never edited, as 0001. It only adds a table: everything that an installation of the
first schema holds stays as it is.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "trust_anchors",
        _required("tenant", sa.String()),
        _required("kind", sa.String()),
        _required("fingerprint", sa.String()),
        _required("role", sa.String()),
        _required("certificate", sa.LargeBinary()),
        _required("name", sa.String()),
        _required("subject", sa.String()),
        _required("not_after_ms", sa.BigInteger()),
        _required("development", sa.Boolean()),
        _required("added_by", sa.String()),
        _required("added_ms", sa.BigInteger()),
        sa.Column("removed_ms", sa.BigInteger()),
        _required("entry_id", sa.String()),
        sa.PrimaryKeyConstraint("tenant", "kind", "fingerprint", name="pk_trust_anchors"),
    )


def _required(name: str, kind: TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)
