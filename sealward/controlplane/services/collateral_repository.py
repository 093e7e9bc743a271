"""The repository of collateral; the rules of services/repositories.py hold for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sealward.controlplane.domain.collateral import (
    CollateralFloor,
    CollateralState,
    StoredCollateral,
)
from sealward.controlplane.domain.records import Page
from sealward.verifier.rats.collateral import Key, Kind


class Collateral(Protocol):
    """Pieces by digest, and floors by key."""

    def find(self, digest: str) -> StoredCollateral | None:
        """Return the piece or None."""

    def get(self, digest: str) -> StoredCollateral:
        """Return the piece; NotFound."""

    def current(self, key: Key) -> StoredCollateral | None:
        """Return the current piece of a key or None."""

    def put(self, piece: StoredCollateral) -> None:
        """Insert or overwrite."""

    def superseded(self, key: Key) -> tuple[StoredCollateral, ...]:
        """Return the older pieces of a key, newest first."""

    def forget(self, pieces: Iterable[StoredCollateral]) -> None:
        """Delete pieces; NotFound."""

    def page(
        self,
        *,
        limit: int,
        after: str | None = None,
        kind: Kind | None = None,
        state: CollateralState | None = None,
    ) -> Page[StoredCollateral]:
        """List pieces by kind, name and digest."""

    def floor(self, key: Key) -> CollateralFloor | None:
        """Return the floor of a key, None before anything was accepted."""

    def raise_floor(self, floor: CollateralFloor) -> None:
        """Insert or overwrite; the caller never lowers one."""
