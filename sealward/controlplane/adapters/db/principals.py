"""Principals with their roles, service tokens and join tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Table, bindparam, delete, select, update
from sqlalchemy import insert as insert_into

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.rows import Rows, Scope
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.principals import JoinToken, Principal, Role, ServiceToken
from sealward.controlplane.domain.records import Page

_PRINCIPALS: Final = Rows(
    tables.principals, Principal, ("principal_id",), "principal", elsewhere=("roles",)
)
_TOKENS: Final = Rows(tables.service_tokens, ServiceToken, ("token_id",), "service token")
_JOIN_TOKENS: Final = Rows(tables.join_tokens, JoinToken, ("token_id",), "join token")

_B: Final = tables.role_bindings.c
_THIS_PRINCIPAL: Final = (
    _B.tenant == bindparam("k_tenant"),
    _B.principal_id == bindparam("k_principal_id"),
)
_ROLES: Final = select(_B.role).where(*_THIS_PRINCIPAL).order_by(_B.role)
_FORGET_ROLES: Final = delete(tables.role_bindings).where(*_THIS_PRINCIPAL)
_ADD_ROLE: Final = insert_into(tables.role_bindings)


class PrincipalRepository:
    """services.repositories.Principals over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def get(self, principal_id: str) -> Principal:
        """Return the principal; NotFound."""
        return self._with_roles(_PRINCIPALS.get(self._scope, principal_id))

    def find(self, principal_id: str) -> Principal | None:
        """Return the principal or None."""
        principal = _PRINCIPALS.find(self._scope, principal_id)
        return None if principal is None else self._with_roles(principal)

    def add(self, principal: Principal) -> None:
        """Insert with roles; Conflict(already_exists) on the id or the name."""
        _PRINCIPALS.add(self._scope, principal)
        self._bind(principal)

    def save(self, principal: Principal) -> None:
        """Overwrite, roles included; NotFound."""
        _PRINCIPALS.save(self._scope, principal)
        self._scope.connection.execute(_FORGET_ROLES, self._key(principal))
        self._bind(principal)

    def page(self, *, limit: int, after: str | None = None) -> Page[Principal]:
        """List principals by principal_id."""
        page = _PRINCIPALS.page(self._scope, limit=limit, after=after)
        return Page(tuple(self._with_roles(principal) for principal in page.items), page.after)

    def _with_roles(self, principal: Principal) -> Principal:
        roles = self._scope.connection.execute(_ROLES, self._key(principal)).scalars()
        return replace(principal, roles=tuple(roles))

    def _bind(self, principal: Principal) -> None:
        this = {"tenant": self._scope.tenant, "principal_id": principal.principal_id}
        rows: list[dict[str, str | Role]] = [{**this, "role": role} for role in principal.roles]
        if rows:
            self._scope.connection.execute(_ADD_ROLE, rows)

    def _key(self, principal: Principal) -> dict[str, str]:
        return {"k_tenant": self._scope.tenant, "k_principal_id": principal.principal_id}


class TokenRepository:
    """services.repositories.Tokens over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def find(self, token_id: str) -> ServiceToken | None:
        """Return the token or None."""
        return _TOKENS.find(self._scope, token_id)

    def add(self, token: ServiceToken) -> None:
        """Insert; Conflict(already_exists)."""
        _TOKENS.add(self._scope, token)

    def use(self, token_id: str, now: datetime) -> None:
        """Spend a single-use token; Refused(token_spent) when it was spent before."""
        if not _spend(self._scope, tables.service_tokens, token_id, {"used": now}):
            raise Refused(
                Code.token_spent, "the token works once and was used", "ask for a new token"
            )

    def revoke(self, token_id: str, now: datetime) -> None:
        """Mark as revoked, keeping the first instant; NotFound."""
        token = _TOKENS.get(self._scope, token_id)
        if token.revoked is None:
            _TOKENS.save(self._scope, replace(token, revoked=now))

    def page(self, *, limit: int, after: str | None = None) -> Page[ServiceToken]:
        """List tokens by token_id."""
        return _TOKENS.page(self._scope, limit=limit, after=after)


class JoinTokenRepository:
    """services.repositories.JoinTokens over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def find(self, token_id: str) -> JoinToken | None:
        """Return the token or None."""
        return _JOIN_TOKENS.find(self._scope, token_id)

    def add(self, token: JoinToken) -> None:
        """Insert; Conflict(already_exists)."""
        _JOIN_TOKENS.add(self._scope, token)

    def use(self, token_id: str, node_id: str, now: datetime) -> None:
        """Spend the token for one node; Refused(join_token_spent, join_token_invalid)."""
        used: dict[str, datetime | str] = {"used": now, "used_by": node_id}
        if _spend(self._scope, tables.join_tokens, token_id, used):
            return
        if self.find(token_id) is None:
            raise Refused(Code.join_token_invalid, "there is no such join token")
        raise Refused(
            Code.join_token_spent, "the join token admitted another node", "ask for a new token"
        )

    def page(self, *, limit: int, after: str | None = None) -> Page[JoinToken]:
        """List tokens by token_id."""
        return _JOIN_TOKENS.page(self._scope, limit=limit, after=after)


def _spend(scope: Scope, table: Table, token_id: str, used: dict[str, datetime | str]) -> bool:
    """Mark an unused token as used; compare and set, so that of two users one wins."""
    this = (table.c.tenant == scope.tenant, table.c.token_id == token_id)
    change = update(table).where(*this, table.c.used.is_(None)).values(used)
    return scope.connection.execute(change).rowcount == 1
