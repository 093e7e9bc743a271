"""Trust anchors over HTTP. A certificate travels as the DER it is, whose SHA-256 names it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

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
from sealward.controlplane.domain.trust_anchors import AnchorKind, AnchorRole, TrustAnchor

router = APIRouter(route_class=GuardedRoute, prefix="/trust-anchors", tags=["trust anchors"])


class TrustAnchorView(View):
    """A CA certificate that vouches for endorsement keys of TPMs; in force until removed."""

    kind: AnchorKind
    fingerprint: str
    role: AnchorRole
    name: str
    subject: str
    not_after: datetime
    development: bool
    added_by: str
    added: datetime
    removed: datetime | None

    @classmethod
    def of(cls, anchor: TrustAnchor) -> Self:
        """Show one."""
        return cls(
            kind=anchor.kind,
            fingerprint=anchor.fingerprint,
            role=anchor.role,
            name=anchor.name,
            subject=anchor.subject,
            not_after=anchor.not_after,
            development=anchor.development,
            added_by=anchor.added_by,
            added=anchor.added,
            removed=anchor.removed,
        )


class AnchorQuery(BaseModel):
    """What the administrator says of a certificate; the name is its subject when left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    development: bool = False


class Removal(Strict):
    """Why."""

    reason: str


@router.post(
    "",
    status_code=201,
    openapi_extra=raw_body("application/pkix-cert", {"type": "string", "format": "binary"}),
)
def add(
    certificate: RawBody,
    query: Annotated[AnchorQuery, Query()],
    caller: Caller,
    services: Services,
) -> TrustAnchorView:
    """Trust a CA certificate (DER) for endorsement keys of TPMs."""
    added = services.trust_anchors.add(
        caller, certificate, name=query.name, development=query.development
    )
    return TrustAnchorView.of(added)


@router.get("")
def page(query: PageQuery, caller: Caller, services: Services) -> PageView[TrustAnchorView]:
    """List trust anchors by fingerprint, those that were removed included."""
    found = services.trust_anchors.page(caller, limit=query.limit, after=query.after)
    return PageView(items=[TrustAnchorView.of(item) for item in found.items], after=found.after)


@router.post("/{fingerprint}/remove")
def remove(fingerprint: str, body: Removal, caller: Caller, services: Services) -> TrustAnchorView:
    """Trust a certificate no more; nodes whose TPM chains to it lose their leases."""
    removed = services.trust_anchors.remove(caller, fingerprint, reason=body.reason)
    return TrustAnchorView.of(removed)
