"""Signed terms and the wipe statements that answer them."""

from __future__ import annotations

from typing import Final

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.leases import SignedTerms, WipeStatement
from sealward.controlplane.domain.records import MAX_PAGE

_TERMS: Final = Rows(tables.signed_terms, SignedTerms, ("node_id", "sequence"), "terms")
_WIPES: Final = Rows(
    tables.wipe_statements, WipeStatement, ("node_id", "statement_id"), "wipe statement"
)
_T: Final = tables.signed_terms.c
_W: Final = tables.wipe_statements.c


class TermsRepository:
    """services.repositories.Terms over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def add(self, terms: SignedTerms) -> None:
        """Insert; Conflict(already_exists) when the sequence number is taken."""
        _TERMS.add(self._scope, terms)

    def after(self, node_id: str, sequence: int, *, limit: int) -> tuple[SignedTerms, ...]:
        """Return the node's terms above `sequence`, in order."""
        query = _TERMS.select(self._scope, _T.node_id == node_id, _T.sequence > sequence)
        return _TERMS.all(self._scope, query.order_by(_T.sequence).limit(limit))

    def latest(self, node_id: str) -> SignedTerms | None:
        """Return the node's newest terms or None."""
        query = _TERMS.select(self._scope, _T.node_id == node_id)
        newest = _TERMS.all(self._scope, query.order_by(_T.sequence.desc()).limit(1))
        return newest[0] if newest else None

    def add_wipe(self, statement: WipeStatement) -> None:
        """Insert a wipe statement; Conflict(already_exists)."""
        _WIPES.add(self._scope, statement)

    def wipes(self, node_id: str) -> tuple[WipeStatement, ...]:
        """Return the node's newest wipe statements, newest first, at most MAX_PAGE."""
        query = _WIPES.select(self._scope, _W.node_id == node_id)
        newest = query.order_by(_W.received.desc(), _W.statement_id.desc()).limit(MAX_PAGE)
        return _WIPES.all(self._scope, newest)
