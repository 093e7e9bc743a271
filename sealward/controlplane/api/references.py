"""Reference sets over HTTP. A set is imported as the document it is, whose bytes are its digest."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

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
from sealward.controlplane.domain.reference_values import (
    ReferenceSet,
    ReferenceSetState,
    ReferenceValue,
    ReferenceValueState,
)
from sealward.controlplane.services import inputs
from sealward.verifier.wire import json

router = APIRouter(route_class=GuardedRoute, prefix="/reference-sets", tags=["reference sets"])

_MAX_VALUE_BYTES = 65_536  # of one stored value; an import bounds them far below


class ReferenceSetView(View):
    """A reference set."""

    name: str
    digest: str
    state: ReferenceSetState
    not_after: datetime | None
    imported_by: str
    imported: datetime

    @classmethod
    def of(cls, reference_set: ReferenceSet) -> Self:
        """Show one."""
        return cls(
            name=reference_set.name,
            digest=reference_set.digest,
            state=reference_set.state,
            not_after=reference_set.not_after,
            imported_by=reference_set.imported_by,
            imported=reference_set.imported,
        )


class ReferenceValueView(View):
    """A reference value."""

    set_name: str
    kind: str
    key: str
    value: Any
    state: ReferenceValueState
    withdrawn: datetime | None
    withdraw_reason: str

    @classmethod
    def of(cls, value: ReferenceValue) -> Self:
        """Show one."""
        return cls(
            set_name=value.set_name,
            kind=value.kind,
            key=value.key,
            value=json.decode(value.value, what="stored value", max_bytes=_MAX_VALUE_BYTES),
            state=value.state,
            withdrawn=value.withdrawn,
            withdraw_reason=value.withdraw_reason,
        )


class ImportQuery(BaseModel):
    """Whether the set is in force at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    activate: bool = False


class Revocation(Strict):
    """Why."""

    reason: str


class Withdrawal(Strict):
    """Which value is withdrawn or reinstated, and why."""

    kind: str
    key: str
    reason: str


class Expiry(Strict):
    """From when the set is no longer in force, RFC 3339 with Z; null for never."""

    not_after: str | None


@router.post(
    "",
    status_code=201,
    openapi_extra=raw_body("application/json", {"type": "object"}),
)
def import_set(
    document: RawBody,
    query: Annotated[ImportQuery, Query()],
    caller: Caller,
    services: Services,
) -> ReferenceSetView:
    """Import a reference set, staged or in force at once."""
    return ReferenceSetView.of(
        services.references.import_set(caller, document, activate=query.activate)
    )


@router.get("")
def page(query: PageQuery, caller: Caller, services: Services) -> PageView[ReferenceSetView]:
    """List sets by name."""
    found = services.references.page(caller, limit=query.limit, after=query.after)
    return PageView(items=[ReferenceSetView.of(item) for item in found.items], after=found.after)


@router.get("/{name}")
def get(name: str, caller: Caller, services: Services) -> ReferenceSetView:
    """Return one set."""
    return ReferenceSetView.of(services.references.get(caller, name))


@router.get("/{name}/values")
def values(
    name: str, query: PageQuery, caller: Caller, services: Services
) -> PageView[ReferenceValueView]:
    """List the values of a set by kind and key."""
    found = services.references.values(caller, name, limit=query.limit, after=query.after)
    return PageView(items=[ReferenceValueView.of(item) for item in found.items], after=found.after)


@router.post("/{name}/activate")
def activate(name: str, caller: Caller, services: Services) -> ReferenceSetView:
    """Put a staged set in force."""
    return ReferenceSetView.of(services.references.activate(caller, name))


@router.post("/{name}/revoke")
def revoke(name: str, body: Revocation, caller: Caller, services: Services) -> ReferenceSetView:
    """Take a whole set out of force, for good."""
    return ReferenceSetView.of(services.references.revoke(caller, name, reason=body.reason))


@router.post("/{name}/withdrawals", status_code=201)
def withdraw(name: str, body: Withdrawal, caller: Caller, services: Services) -> ReferenceValueView:
    """Take one value out of force, in every set; leases that rest on it end."""
    withdrawn = services.references.withdraw(caller, name, body.kind, body.key, reason=body.reason)
    return ReferenceValueView.of(withdrawn)


@router.post("/{name}/reinstatements", status_code=201)
def reinstate(
    name: str, body: Withdrawal, caller: Caller, services: Services
) -> ReferenceValueView:
    """Take a withdrawal back: the value counts again in every set in force that names it."""
    reinstated = services.references.reinstate(
        caller, name, body.kind, body.key, reason=body.reason
    )
    return ReferenceValueView.of(reinstated)


@router.put("/{name}/not-after")
def expire(name: str, body: Expiry, caller: Caller, services: Services) -> ReferenceSetView:
    """Set or lift the end of a set."""
    not_after = None if body.not_after is None else inputs.instant(body.not_after, "not_after")
    return ReferenceSetView.of(services.references.expire(caller, name, not_after))
