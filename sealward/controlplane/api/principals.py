"""Principals and service tokens over HTTP. A token's text appears once: when it is made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import Field

from sealward.controlplane.api.route import (
    Caller,
    GuardedRoute,
    PageQuery,
    PageView,
    Services,
    Strict,
    View,
)
from sealward.controlplane.domain.principals import Principal, Role, ServiceToken
from sealward.controlplane.services.principals import IssuedToken

router = APIRouter(route_class=GuardedRoute, tags=["principals"])


class PrincipalView(View):
    """A principal."""

    principal_id: str
    name: str
    roles: list[Role]
    created: datetime
    disabled: datetime | None

    @classmethod
    def of(cls, principal: Principal) -> Self:
        """Show one."""
        return cls(
            principal_id=principal.principal_id,
            name=principal.name,
            roles=list(principal.roles),
            created=principal.created,
            disabled=principal.disabled,
        )


class TokenView(View):
    """A service token without its secret, and without the MAC of it."""

    token_id: str
    principal_id: str
    created: datetime
    expires: datetime
    revoked: datetime | None
    single_use: bool
    used: datetime | None

    @classmethod
    def of(cls, token: ServiceToken) -> Self:
        """Show one."""
        return cls(
            token_id=token.token_id,
            principal_id=token.principal_id,
            created=token.created,
            expires=token.expires,
            revoked=token.revoked,
            single_use=token.single_use,
            used=token.used,
        )


class IssuedTokenView(View):
    """A principal with a token that was just made; `credential` is shown this once."""

    principal: PrincipalView
    token: TokenView
    credential: str

    @classmethod
    def of(cls, issued: IssuedToken) -> Self:
        """Show one."""
        return cls(
            principal=PrincipalView.of(issued.principal),
            token=TokenView.of(issued.token),
            credential=issued.text,
        )


class NewPrincipal(Strict):
    """Who to create, and how long the first token lives."""

    name: str
    roles: list[Annotated[Role, Field(strict=False)]]
    lifetime_seconds: Annotated[int, Field(ge=1, le=2**31)]


@router.post("/principals", status_code=201)
def create(body: NewPrincipal, caller: Caller, services: Services) -> IssuedTokenView:
    """Create a principal with a first token."""
    issued = services.principals.create(
        caller,
        name=body.name,
        roles=tuple(body.roles),
        lifetime=timedelta(seconds=body.lifetime_seconds),
    )
    return IssuedTokenView.of(issued)


@router.get("/principals")
def page(query: PageQuery, caller: Caller, services: Services) -> PageView[PrincipalView]:
    """List principals by id."""
    found = services.principals.page(caller, limit=query.limit, after=query.after)
    return PageView(items=[PrincipalView.of(item) for item in found.items], after=found.after)


class NewToken(Strict):
    """How long the token lives."""

    lifetime_seconds: Annotated[int, Field(ge=1, le=2**31)]


@router.post("/principals/{principal_id}/tokens", status_code=201)
def issue_token(
    principal_id: str, body: NewToken, caller: Caller, services: Services
) -> IssuedTokenView:
    """Make a further token for a principal."""
    issued = services.principals.issue_token(
        caller, principal_id, lifetime=timedelta(seconds=body.lifetime_seconds)
    )
    return IssuedTokenView.of(issued)


@router.post("/principals/{principal_id}/disable")
def disable(principal_id: str, caller: Caller, services: Services) -> PrincipalView:
    """Disable a principal: none of its tokens authenticates from then on."""
    return PrincipalView.of(services.principals.disable(caller, principal_id))


@router.get("/tokens")
def tokens(query: PageQuery, caller: Caller, services: Services) -> PageView[TokenView]:
    """List service tokens by id."""
    found = services.principals.tokens(caller, limit=query.limit, after=query.after)
    return PageView(items=[TokenView.of(item) for item in found.items], after=found.after)


@router.post("/tokens/{token_id}/revoke")
def revoke(token_id: str, caller: Caller, services: Services) -> TokenView:
    """Revoke a service token; anybody may revoke his own."""
    return TokenView.of(services.principals.revoke(caller, token_id))
