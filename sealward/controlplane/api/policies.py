"""Policy revisions and activations over HTTP."""

from __future__ import annotations

from datetime import datetime
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
from sealward.controlplane.domain.activations import (
    ActivationMode,
    ActivationState,
    PolicyActivation,
    PolicyRevision,
)
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import files_of
from sealward.controlplane.services.policies import decode_bundle

router = APIRouter(route_class=GuardedRoute, tags=["policies"])


class RevisionView(View):
    """A policy revision; its digest is that of its content."""

    digest: str
    kind: str
    layer: str
    name: str
    uploaded_by: str
    uploaded: datetime

    @classmethod
    def of(cls, revision: PolicyRevision) -> Self:
        """Show one."""
        return cls(
            digest=revision.digest,
            kind=revision.kind,
            layer=revision.layer,
            name=revision.name,
            uploaded_by=revision.uploaded_by,
            uploaded=revision.uploaded,
        )


class RevisionInFull(RevisionView):
    """A policy revision with its files, path to text."""

    files: dict[str, str]


class ActivationView(View):
    """The use of a revision in a scope."""

    activation_id: str
    kind: str
    layer: str
    scope: str
    mode: ActivationMode
    digest: str
    replaces: str | None
    state: ActivationState
    by: str
    created: datetime
    ended: datetime | None

    @classmethod
    def of(cls, activation: PolicyActivation) -> Self:
        """Show one."""
        return cls(
            activation_id=activation.activation_id,
            kind=activation.kind,
            layer=activation.layer,
            scope=activation.scope,
            mode=activation.mode,
            digest=activation.digest,
            replaces=activation.replaces,
            state=activation.state,
            by=activation.by,
            created=activation.created,
            ended=activation.ended,
        )


class NewRevision(Strict):
    """A bundle: path to text of every file."""

    kind: Annotated[PolicyKind, Field(strict=False)]
    layer: Annotated[Layer, Field(strict=False)]
    name: str
    files: dict[str, str]


class NewActivation(Strict):
    """Which revision, where, and what it replaces: null says that nothing is in force there."""

    digest: str
    mode: Annotated[ActivationMode, Field(strict=False)] = ActivationMode.enforce
    scope: str | None = None
    replaces: str | None


@router.post("/policies", status_code=201)
def upload(body: NewRevision, caller: Caller, services: Services) -> RevisionView:
    """Check a bundle and keep it; the same content again is the same revision."""
    revision = services.policies.upload(
        caller, kind=body.kind, layer=body.layer, name=body.name, files=body.files
    )
    return RevisionView.of(revision)


@router.get("/policies")
def page(query: PageQuery, caller: Caller, services: Services) -> PageView[RevisionView]:
    """List revisions by digest."""
    found = services.policies.revisions(caller, limit=query.limit, after=query.after)
    return PageView(items=[RevisionView.of(item) for item in found.items], after=found.after)


@router.get("/policies/{digest}")
def get(digest: str, caller: Caller, services: Services) -> RevisionInFull:
    """Return a revision with its files."""
    revision = services.policies.revision(caller, digest)
    files = {
        path: data.decode("utf-8")
        for path, data in files_of(decode_bundle(revision.bundle)).items()
    }
    return RevisionInFull(**RevisionView.of(revision).model_dump(), files=files)


@router.post("/activations", status_code=201)
def activate(body: NewActivation, caller: Caller, services: Services) -> ActivationView:
    """Let a revision decide from now on."""
    activation = services.policies.activate(
        caller, body.digest, mode=body.mode, scope=body.scope, replaces=body.replaces
    )
    return ActivationView.of(activation)


@router.get("/activations")
def activations(query: PageQuery, caller: Caller, services: Services) -> PageView[ActivationView]:
    """List activations by id, ended ones included."""
    found = services.policies.activations(caller, limit=query.limit, after=query.after)
    return PageView(items=[ActivationView.of(item) for item in found.items], after=found.after)


@router.get("/activations/active")
def active(caller: Caller, services: Services) -> PageView[ActivationView]:
    """List the activations in force: one for each kind, layer and scope."""
    found = services.policies.active(caller)
    return PageView(items=[ActivationView.of(item) for item in found], after=None)
