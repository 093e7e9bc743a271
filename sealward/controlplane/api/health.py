"""Liveness and readiness, for whoever starts and watches the process."""

from __future__ import annotations

from fastapi import APIRouter

from sealward.controlplane.api.route import OpenRoute, Services, View

router = APIRouter(route_class=OpenRoute, tags=["health"])


class HealthView(View):
    """Nothing but that it is so."""

    status: str


@router.get("/healthz")
def live() -> HealthView:
    """Say that the process answers."""
    return HealthView(status="live")


@router.get("/readyz")
def ready(services: Services) -> HealthView:
    """Say that the database answers as well; 503 otherwise."""
    services.status.ready()
    return HealthView(status="ready")
