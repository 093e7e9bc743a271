"""Sealed model versions over HTTP. A registration travels as the bytes it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Path

from sealward.controlplane.api.leases import LeaseView
from sealward.controlplane.api.route import (
    Caller,
    GuardedRoute,
    PageQuery,
    PageView,
    RawBody,
    Services,
    Strict,
    View,
    raw_body,
)
from sealward.controlplane.domain.workloads import ModelState, ModelVersion

router = APIRouter(route_class=GuardedRoute, prefix="/workloads/{workload}/models", tags=["models"])

Version = Annotated[int, Path(ge=1, le=2**31 - 1)]


class ModelView(View):
    """A registered model version; digests and ids name it, keys are nowhere."""

    workload: str
    name: str
    version: int
    state: ModelState
    core_digest: str
    signed_digest: str
    content_key_id: str
    registered: datetime

    @classmethod
    def of(cls, model: ModelVersion) -> Self:
        """Show one."""
        return cls(
            workload=model.workload,
            name=model.name,
            version=model.version,
            state=model.state,
            core_digest=model.core_digest,
            signed_digest=model.signed_digest,
            content_key_id=model.content_key_id,
            registered=model.registered,
        )


class ModelWithdrawal(Strict):
    """Why."""

    reason: str


@router.post(
    "",
    status_code=201,
    openapi_extra=raw_body("application/octet-stream", {"type": "string", "format": "binary"}),
)
def register(workload: str, registration: RawBody, caller: Caller, services: Services) -> ModelView:
    """Register a sealed model version by its header."""
    return ModelView.of(services.models.register(caller, workload, registration))


@router.get("")
def page(
    workload: str, query: PageQuery, caller: Caller, services: Services
) -> PageView[ModelView]:
    """List a workload's model versions."""
    found = services.models.page(caller, workload, limit=query.limit, after=query.after)
    return PageView(items=[ModelView.of(item) for item in found.items], after=found.after)


@router.post("/{name}/versions/{version}/withdraw")
def withdraw(  # noqa: PLR0917 - the framework calls it by name
    workload: str,
    name: str,
    version: Version,
    body: ModelWithdrawal,
    caller: Caller,
    services: Services,
) -> ModelView:
    """Grant a version to nobody from now on; leases that carry it end."""
    withdrawn = services.models.withdraw(caller, workload, name, version, reason=body.reason)
    return ModelView.of(withdrawn)


@router.get("/{name}/versions/{version}/exposure")
def exposure(  # noqa: PLR0917 - the framework calls it by name
    workload: str,
    name: str,
    version: Version,
    query: PageQuery,
    caller: Caller,
    services: Services,
) -> PageView[LeaseView]:
    """List every lease that ever carried the content key of this version."""
    found = services.leases.exposure(
        caller, workload, name, version, limit=query.limit, after=query.after
    )
    return PageView(items=[LeaseView.of(item) for item in found.items], after=found.after)
