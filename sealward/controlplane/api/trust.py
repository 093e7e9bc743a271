"""The trust configuration over HTTP, byte for byte as agents measure it."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from sealward.controlplane.api.route import Caller, GuardedRoute, Services

router = APIRouter(route_class=GuardedRoute, tags=["trust"])

DIGEST_HEADER: Final = "X-Sealward-Digest"


@router.get("/trust-configuration", response_class=Response)
def trust_configuration(caller: Caller, services: Services) -> Response:
    """Return the document; its SHA-256 in hex stands in the header X-Sealward-Digest."""
    file = services.trust.file(caller)
    return Response(
        file.document, media_type="application/json", headers={DIGEST_HEADER: file.digest}
    )
