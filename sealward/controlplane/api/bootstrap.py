"""The first administrator: the one route that a bootstrap credential opens, once (F15)."""

from __future__ import annotations

from fastapi import APIRouter, Request

from sealward.controlplane.api.principals import IssuedTokenView
from sealward.controlplane.api.route import OpenRoute, Services, Strict, bearer_of

router = APIRouter(route_class=OpenRoute, tags=["bootstrap"])


class FirstAdministrator(Strict):
    """Who it is."""

    name: str


@router.post("/bootstrap", status_code=201)
def bootstrap(body: FirstAdministrator, request: Request, services: Services) -> IssuedTokenView:
    """Create the first administrator; the bearer token is the bootstrap credential."""
    return IssuedTokenView.of(services.principals.bootstrap(bearer_of(request), body.name))
