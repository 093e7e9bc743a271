"""The tables of collateral, in the same metadata as all others (tables.py)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Index, LargeBinary, PrimaryKeyConstraint, String, Table

from sealward.controlplane.adapters.db.columns import (
    INSTANT,
    Coded,
    closed,
    column,
    only_where,
    tenant,
)
from sealward.controlplane.adapters.db.tables import metadata
from sealward.controlplane.domain.collateral import CollateralState
from sealward.verifier.rats.collateral import Kind

# The number of a revocation list has up to 20 bytes (RFC 5280 5.2.3); an integer column has 8.
_NUMBER: Final = Coded(String(), str, int)

collateral = Table(
    "collateral",
    metadata,
    tenant(),
    column("digest", String),
    column("kind", closed(Kind)),
    column("name", String),
    column("content", LargeBinary),
    column("issuers", LargeBinary),
    column("state", closed(CollateralState)),
    column("issued_ms", INSTANT),
    column("next_update_ms", INSTANT),
    column("number", _NUMBER, null=True),
    column("signer", String),
    column("development", Boolean),
    column("source", String),
    column("accepted_ms", INSTANT),
    column("entry_id", String),
    # One list may be published under two names, and stands under each of them.
    PrimaryKeyConstraint("tenant", "kind", "name", "digest"),
    Index(None, "tenant", "digest"),
    Index(
        "ix_collateral_current",
        "tenant",
        "kind",
        "name",
        unique=True,
        **only_where("state = 'current'"),
    ),
)

collateral_floors = Table(
    "collateral_floors",
    metadata,
    tenant(),
    column("kind", closed(Kind)),
    column("name", String),
    column("number", _NUMBER, null=True),
    column("issued_ms", INSTANT),
    PrimaryKeyConstraint("tenant", "kind", "name"),
)
