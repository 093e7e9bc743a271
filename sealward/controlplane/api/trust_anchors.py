"""Trust anchors over HTTP. A certificate or a public key travels as the DER it is."""

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
from sealward.controlplane.domain.trust_anchors import (
    AnchorKind,
    AnchorRole,
    TrustAnchor,
    VouchedInstance,
)
from sealward.controlplane.services import inputs

router = APIRouter(route_class=GuardedRoute, prefix="/trust-anchors", tags=["trust anchors"])


class TrustAnchorView(View):
    """A CA certificate of TPMs, or an Arm instance's key; in force until removed."""

    kind: AnchorKind
    fingerprint: str
    sha256: str
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
            sha256=anchor.sha256,
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
    """What the administrator says of the body; the name is its subject when left out.

    The ids are lower hex, for a key only: whose it is, and on which implementation if that is said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: AnchorKind = AnchorKind.tpm_ek
    name: str = ""
    development: bool = False
    instance_id: str | None = None
    implementation_id: str | None = None


class Removal(Strict):
    """Why."""

    reason: str


@router.post(
    "",
    status_code=201,
    openapi_extra=raw_body("application/octet-stream", {"type": "string", "format": "binary"}),
)
def add(
    der: RawBody,
    query: Annotated[AnchorQuery, Query()],
    caller: Caller,
    services: Services,
) -> TrustAnchorView:
    """Trust a CA certificate (DER) for TPMs, or a public key (DER) as an Arm instance's."""
    anchors, instance = services.trust_anchors, _instance(query)
    added = (
        anchors.add(caller, der, name=query.name, development=query.development)
        if instance is None
        else anchors.add_key(caller, der, instance, name=query.name)
    )
    return TrustAnchorView.of(added)


@router.get("")
def page(query: PageQuery, caller: Caller, services: Services) -> PageView[TrustAnchorView]:
    """List trust anchors by fingerprint, those that were removed included."""
    found = services.trust_anchors.page(caller, limit=query.limit, after=query.after)
    return PageView(items=[TrustAnchorView.of(item) for item in found.items], after=found.after)


@router.post("/{fingerprint}/remove")
def remove(fingerprint: str, body: Removal, caller: Caller, services: Services) -> TrustAnchorView:
    """Trust an anchor no more; nodes that rest on it lose their leases."""
    removed = services.trust_anchors.remove(caller, fingerprint, reason=body.reason)
    return TrustAnchorView.of(removed)


def _instance(query: AnchorQuery) -> VouchedInstance | None:
    """Return whose key the body is; None for a certificate.

    Raises:
        Refused: invalid_request, words that do not go together.
    """
    if query.kind is AnchorKind.tpm_ek:
        if query.instance_id is not None or query.implementation_id is not None:
            raise inputs.invalid(
                "a certificate of TPMs is no instance's",
                "leave the ids out, or say kind cca-key or psa-key",
            )
        return None
    if query.instance_id is None:
        raise inputs.invalid(
            f"a {query.kind} is one instance's, and none is named",
            "give the instance id: 33 bytes in hex, as its tokens say it",
        )
    if query.development:
        raise inputs.invalid(
            "no root stands behind the key of an instance, so none is for development",
            "leave the word out; you vouch for the key yourself",
        )
    return VouchedInstance(query.kind, query.instance_id, query.implementation_id)
