"""Trust anchors."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.trust_anchors import AnchorKind, TrustAnchor

_ANCHORS: Final = Rows(tables.trust_anchors, TrustAnchor, ("kind", "fingerprint"), "trust anchor")
_A: Final = tables.trust_anchors.c
_IN_FORCE: Final = Prepared(
    _ANCHORS.fixed(_A.kind == bindparam("k_kind"), _A.removed.is_(None)).order_by(_A.fingerprint)
)


class TrustAnchorRepository:
    """services.repositories.TrustAnchors over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def find(self, kind: AnchorKind, fingerprint: str) -> TrustAnchor | None:
        """Return the anchor or None."""
        return _ANCHORS.find(self._scope, kind, fingerprint)

    def put(self, anchor: TrustAnchor) -> None:
        """Insert or overwrite."""
        _ANCHORS.put(self._scope, anchor)

    def in_force(self, kind: AnchorKind) -> tuple[TrustAnchor, ...]:
        """Return every anchor of a kind that is not removed, by fingerprint."""
        return _ANCHORS.fetch(self._scope, _IN_FORCE, k_kind=kind)

    def page(self, *, limit: int, after: str | None = None) -> Page[TrustAnchor]:
        """List anchors of all kinds by fingerprint, the removed ones included."""
        # One of all kinds: what two kinds digest begins differently.
        return _ANCHORS.page(self._scope, limit=limit, after=after, order=("fingerprint",))
