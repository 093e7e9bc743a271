"""The admin API as an ASGI application."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import sealward
from sealward.controlplane.api import (
    audit,
    bootstrap,
    client_tokens,
    collateral,
    explanations,
    health,
    join_tokens,
    leases,
    models,
    nodes,
    platforms,
    policies,
    principals,
    problems,
    references,
    results,
    status,
    trust,
    trust_anchors,
    workloads,
)
from sealward.controlplane.api.answers import EscapedJson
from sealward.controlplane.api.envelope import Envelope
from sealward.controlplane.domain.errors import DomainError
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.services.admin import AdminServices

_RESOURCES: Final = (
    audit,
    bootstrap,
    client_tokens,
    collateral,
    explanations,
    join_tokens,
    leases,
    models,
    nodes,
    platforms,
    policies,
    principals,
    references,
    results,
    status,
    trust,
    trust_anchors,
    workloads,
)


def create_app(services: AdminServices, *, random_bytes: RandomBytes) -> FastAPI:
    """Return the application over these use cases.

    It keeps no state of its own, so that any replica answers any request.
    """
    app = FastAPI(
        title="Sealward admin API",
        version=sealward.__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # the interactive pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=EscapedJson,
    )
    app.state.services = services
    app.add_middleware(Envelope, random_bytes=random_bytes)
    app.add_exception_handler(DomainError, problems.from_domain)
    app.add_exception_handler(RequestValidationError, problems.from_validation)
    app.add_exception_handler(HTTPException, problems.from_http)
    app.include_router(health.router)
    versioned = APIRouter(prefix="/v1")
    versioned.include_router(results.public)
    for resource in _RESOURCES:
        versioned.include_router(resource.router)
    app.include_router(versioned)
    return app
