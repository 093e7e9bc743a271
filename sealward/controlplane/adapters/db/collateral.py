"""Accepted collateral and its floors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import bindparam

from sealward.controlplane.adapters.db.collateral_tables import collateral, collateral_floors
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.collateral import (
    CollateralFloor,
    CollateralState,
    StoredCollateral,
)
from sealward.controlplane.domain.records import Page
from sealward.verifier.rats.collateral import Key, Kind

_PIECES: Final = Rows(collateral, StoredCollateral, ("kind", "name", "digest"), "collateral")
_FLOORS: Final = Rows(collateral_floors, CollateralFloor, ("kind", "name"), "collateral floor")
_C: Final = collateral.c
_THIS_KEY: Final = (_C.kind == bindparam("k_kind"), _C.name == bindparam("k_name"))
_OF_DIGEST: Final = Prepared(
    _PIECES.fixed(_C.digest == bindparam("k_digest")).order_by(_C.state, _C.kind, _C.name)
)
_CURRENT: Final = Prepared(_PIECES.fixed(*_THIS_KEY, _C.state == CollateralState.current))
_SUPERSEDED: Final = Prepared(
    _PIECES.fixed(*_THIS_KEY, _C.state == CollateralState.superseded).order_by(_C.accepted.desc())
)


class CollateralRepository:
    """services.repositories.Collateral over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def find(self, digest: str) -> StoredCollateral | None:
        """Return the piece or None; of one that has several names the current first."""
        found = _PIECES.fetch(self._scope, _OF_DIGEST, k_digest=digest)
        return found[0] if found else None

    def get(self, digest: str) -> StoredCollateral:
        """Return the piece; NotFound."""
        found = self.find(digest)
        if found is None:
            raise _PIECES.missing(digest)
        return found

    def current(self, key: Key) -> StoredCollateral | None:
        """Return the current piece of a key or None."""
        found = _PIECES.fetch(self._scope, _CURRENT, k_kind=key.kind, k_name=key.name)
        return found[0] if found else None

    def put(self, piece: StoredCollateral) -> None:
        """Insert or overwrite."""
        _PIECES.put(self._scope, piece)

    def superseded(self, key: Key) -> tuple[StoredCollateral, ...]:
        """Return the older pieces of a key, newest first."""
        return _PIECES.fetch(self._scope, _SUPERSEDED, k_kind=key.kind, k_name=key.name)

    def forget(self, pieces: Iterable[StoredCollateral]) -> None:
        """Delete pieces; NotFound."""
        for piece in pieces:
            _PIECES.remove(self._scope, piece.kind, piece.name, piece.digest)

    def page(
        self,
        *,
        limit: int,
        after: str | None = None,
        kind: Kind | None = None,
        state: CollateralState | None = None,
    ) -> Page[StoredCollateral]:
        """List pieces by kind, name and digest."""
        return _PIECES.page(
            self._scope,
            limit=limit,
            after=after,
            where={"kind": kind, "state": state},
            order=("kind", "name", "digest"),
        )

    def floor(self, key: Key) -> CollateralFloor | None:
        """Return the floor of a key, None before anything was accepted."""
        return _FLOORS.find(self._scope, key.kind, key.name)

    def raise_floor(self, floor: CollateralFloor) -> None:
        """Insert or overwrite; the caller never lowers one."""
        _FLOORS.put(self._scope, floor)
