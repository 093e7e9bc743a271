"""Join tokens over HTTP. The text of one appears once, in the answer to its making."""

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
from sealward.controlplane.domain.principals import JoinToken

router = APIRouter(route_class=GuardedRoute, prefix="/join-tokens", tags=["join tokens"])


class JoinTokenView(View):
    """A join token without its secret, and without the MAC of it."""

    token_id: str
    labels: dict[str, str]
    created_by: str
    created: datetime
    expires: datetime
    used: datetime | None
    used_by: str | None

    @classmethod
    def of(cls, token: JoinToken) -> Self:
        """Show one."""
        return cls(
            token_id=token.token_id,
            labels=dict(token.labels),
            created_by=token.created_by,
            created=token.created,
            expires=token.expires,
            used=token.used,
            used_by=token.used_by,
        )


class IssuedJoinTokenView(View):
    """A join token that was just made; `credential` is shown this once."""

    token: JoinTokenView
    credential: str


class NewJoinToken(Strict):
    """What the node that joins with it gets, and how long it may take."""

    labels: dict[str, str] = Field(default_factory=dict)
    lifetime_seconds: Annotated[int, Field(ge=1, le=2**31)] = 3600


@router.post("", status_code=201)
def create(body: NewJoinToken, caller: Caller, services: Services) -> IssuedJoinTokenView:
    """Make a join token."""
    issued = services.join_tokens.create(
        caller,
        labels=tuple(sorted(body.labels.items())),
        lifetime=timedelta(seconds=body.lifetime_seconds),
    )
    return IssuedJoinTokenView(token=JoinTokenView.of(issued.token), credential=issued.text)


@router.get("")
def page(query: PageQuery, caller: Caller, services: Services) -> PageView[JoinTokenView]:
    """List join tokens by id."""
    found = services.join_tokens.page(caller, limit=query.limit, after=query.after)
    return PageView(items=[JoinTokenView.of(item) for item in found.items], after=found.after)
