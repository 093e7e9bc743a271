"""Spent challenges and epochs: a decision counts once, and under one state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.engine import is_unique_violation, translate
from sealward.controlplane.adapters.db.prepared import Prepared
from sealward.controlplane.adapters.db.rows import Scope
from sealward.controlplane.domain.errors import Code, Conflict, Refused

_C: Final = tables.spent_challenges.c
_E: Final = tables.epochs.c
_SPEND: Final = Prepared(
    insert(tables.spent_challenges), columns=("tenant", "nonce_hash", "expires")
)
_ADD_EPOCH: Final = insert(tables.epochs)
_THIS_EPOCH: Final = (_E.tenant == bindparam("k_tenant"), _E.scope == bindparam("k_scope"))
_READ_EPOCH: Final = select(_E.value).where(*_THIS_EPOCH)
# A decision depends on about six scopes. The statement has a fixed number of places, so that it is
# built once; places that are not needed repeat a scope.
_PLACES: Final = 8
_READ_EPOCHS: Final = Prepared(
    select(_E.scope, _E.value).where(
        _E.tenant == bindparam("k_tenant"),
        _E.scope.in_([bindparam(f"k_{place}") for place in range(_PLACES)]),
    )
)
_BUMP_EPOCH: Final = update(tables.epochs).where(*_THIS_EPOCH).values(value=_E.value + 1)


class ChallengeRepository:
    """services.repositories.Challenges over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def spend(self, nonce_hash: str, expires: datetime) -> None:
        """Record a redeemed challenge; Refused(challenge_spent) the second time."""
        row = {"tenant": self._scope.tenant, "nonce_hash": nonce_hash, "expires": expires}
        try:
            _SPEND.count(self._scope.connection, row)
        except IntegrityError as error:
            if not is_unique_violation(error):
                raise translate(error) from None
            raise Refused(
                Code.challenge_spent, "the challenge was answered before", "ask for a new challenge"
            ) from None

    def purge(self, now: datetime, *, limit: int) -> int:
        """Forget up to `limit` challenges that expired before `now`; return how many."""
        mine = _C.tenant == self._scope.tenant
        expired = select(_C.nonce_hash).where(mine, _C.expires < now).limit(limit)
        gone = delete(tables.spent_challenges).where(mine, _C.nonce_hash.in_(expired))
        return self._scope.connection.execute(gone).rowcount


class EpochRepository:
    """services.repositories.Epochs over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def read(self, scopes: Iterable[str]) -> dict[str, int]:
        """Return the value of each scope, 0 for one that was never bumped."""
        wanted = tuple(scopes)
        found = dict.fromkeys(wanted, 0)
        for start in range(0, len(wanted), _PLACES):
            some = wanted[start : start + _PLACES]
            places = {f"k_{n}": some[min(n, len(some) - 1)] for n in range(_PLACES)}
            key = {"k_tenant": self._scope.tenant, **places}
            found.update(_READ_EPOCHS.rows(self._scope.connection, key))
        return found

    def require(self, expected: Mapping[str, int]) -> None:
        """Return when every scope has its expected value; Conflict(epoch_moved) otherwise."""
        if self.read(expected) != dict(expected):
            raise Conflict(
                Code.epoch_moved, "the state changed during the decision", "evaluate again"
            )

    def bump(self, scope: str) -> int:
        """Count the scope up by one and return its new value."""
        if self._scope.connection.execute(_BUMP_EPOCH, self._key(scope)).rowcount == 0:
            first = {"tenant": self._scope.tenant, "scope": scope, "value": 1}
            self._scope.connection.execute(_ADD_EPOCH, first)
            return 1
        value = self._value(scope)
        assert value is not None  # noqa: S101 - the update above found the row
        return value

    def _value(self, scope: str) -> int | None:
        return self._scope.connection.execute(_READ_EPOCH, self._key(scope)).scalar()

    def _key(self, scope: str) -> dict[str, str]:
        return {"k_tenant": self._scope.tenant, "k_scope": scope}
