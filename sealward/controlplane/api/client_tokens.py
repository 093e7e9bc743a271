"""Client tokens over HTTP. The text of one appears once, in the answer to its making."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from sealward.controlplane.api.route import Caller, GuardedRoute, Services, Strict, View

router = APIRouter(route_class=GuardedRoute, prefix="/client-tokens", tags=["client tokens"])


class NewClientToken(Strict):
    """Who may use which workload's agents, and for how long."""

    workload: str
    subject: str
    lifetime_seconds: Annotated[int, Field(ge=1, le=2**31)] = 3600


class ClientTokenView(View):
    """A client token that was just made; `credential` is shown this once."""

    token_id: str
    workload: str
    subject: str
    expires: datetime
    credential: str


@router.post("", status_code=201)
def create(body: NewClientToken, caller: Caller, services: Services) -> ClientTokenView:
    """Mint a client token."""
    token = services.client_tokens.create(
        caller,
        workload=body.workload,
        subject=body.subject,
        lifetime=timedelta(seconds=body.lifetime_seconds),
    )
    return ClientTokenView(
        token_id=token.token_id,
        workload=token.workload,
        subject=token.subject,
        expires=token.expires,
        credential=token.text,
    )
