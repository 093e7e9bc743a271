"""Workloads over HTTP. Of a workload key only the public half is ever shown."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from sealward.controlplane.api.route import (
    Caller,
    GuardedRoute,
    PageQuery,
    PageView,
    Services,
    Strict,
    View,
)
from sealward.controlplane.domain.workloads import Creator, Workload, WorkloadKey
from sealward.controlplane.services import inputs
from sealward.controlplane.services.creators import MAX_CREATORS
from sealward.controlplane.services.workloads import WorkloadWithKey
from sealward.sealing.hpke import Suite
from sealward.sealing.signing import MAX_KEY_FILE_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64

router = APIRouter(route_class=GuardedRoute, prefix="/workloads", tags=["workloads"])


class WorkloadView(View):
    """A workload."""

    name: str
    data_class: str
    production: bool
    ttl_seconds: int
    max_instances: int | None
    created: datetime

    @classmethod
    def of(cls, workload: Workload) -> Self:
        """Show one."""
        return cls(
            name=workload.name,
            data_class=workload.data_class,
            production=workload.production,
            ttl_seconds=int(workload.ttl.total_seconds()),
            max_instances=workload.max_instances,
            created=workload.created,
        )


class KeyView(View):
    """The public facts of a workload key."""

    version: int
    key_id: str
    suite: str
    created: datetime

    @classmethod
    def of(cls, key: WorkloadKey) -> Self:
        """Show one."""
        return cls(version=key.version, key_id=key.key_id, suite=key.suite, created=key.created)


class WorkloadInFull(WorkloadView):
    """A workload with its newest key."""

    key: KeyView

    @classmethod
    def with_key(cls, found: WorkloadWithKey) -> Self:
        """Show one."""
        view = WorkloadView.of(found.workload)
        return cls(**view.model_dump(), key=KeyView.of(found.key))


class CreatorView(View):
    """A pinned creator key: whose models the workload may run."""

    workload: str
    key_id: str
    public_key: str
    by: str
    added: datetime

    @classmethod
    def of(cls, creator: Creator) -> Self:
        """Show one."""
        return cls(
            workload=creator.workload,
            key_id=creator.key_id,
            public_key=base64.encode(creator.public),
            by=creator.by,
            added=creator.added,
        )


class NewCreator(Strict):
    """The key as `public_key` of a creator's public key file has it: base64 of the whole key."""

    public_key: str


class CreatorRemoval(Strict):
    """Why."""

    reason: str


class NewWorkload(Strict):
    """What to create. `max_instances` null sets no limit; `creators` are as in `NewCreator`."""

    name: str
    data_class: str = "internal"
    production: bool = False
    ttl_seconds: Annotated[int, Field(ge=1, le=2**31)] = 300
    max_instances: int | None = None
    creators: Annotated[list[str], Field(default_factory=list, max_length=MAX_CREATORS)]
    suite: Annotated[Suite, Field(strict=False)] = Suite.MLKEM768_X25519


@router.post("", status_code=201)
def create(body: NewWorkload, caller: Caller, services: Services) -> WorkloadInFull:
    """Create a workload with the first version of its key."""
    created = services.workloads.create(
        caller,
        name=body.name,
        data_class=body.data_class,
        production=body.production,
        ttl=timedelta(seconds=body.ttl_seconds),
        max_instances=body.max_instances,
        creators=tuple(_decoded(each) for each in body.creators),
        suite=body.suite,
    )
    return WorkloadInFull.with_key(created)


@router.get("")
def page(query: PageQuery, caller: Caller, services: Services) -> PageView[WorkloadView]:
    """List workloads by name."""
    found = services.workloads.page(caller, limit=query.limit, after=query.after)
    return PageView(items=[WorkloadView.of(item) for item in found.items], after=found.after)


@router.get("/{name}")
def get(name: str, caller: Caller, services: Services) -> WorkloadInFull:
    """Return a workload with its newest key."""
    return WorkloadInFull.with_key(services.workloads.get(caller, name))


@router.get("/{name}/key", response_class=Response)
def key(name: str, caller: Caller, services: Services) -> Response:
    """Return the public key file that owners seal with, byte for byte."""
    document = services.workloads.public_key_file(caller, name)
    return Response(document, media_type="application/json")


@router.get("/{name}/creators")
def creators(
    name: str, query: PageQuery, caller: Caller, services: Services
) -> PageView[CreatorView]:
    """List the creator keys whose models the workload may run."""
    found = services.creators.page(caller, name, limit=query.limit, after=query.after)
    return PageView(items=[CreatorView.of(item) for item in found.items], after=found.after)


@router.post("/{name}/creators", status_code=201)
def add_creator(name: str, body: NewCreator, caller: Caller, services: Services) -> CreatorView:
    """Pin a creator key."""
    return CreatorView.of(services.creators.add(caller, name, _decoded(body.public_key)))


@router.post("/{name}/creators/{key_id}/remove")
def remove_creator(
    name: str, key_id: str, body: CreatorRemoval, caller: Caller, services: Services
) -> CreatorView:
    """Trust a creator no more: its models are withdrawn, and leases that carry them end."""
    return CreatorView.of(services.creators.remove(caller, name, key_id, reason=body.reason))


def _decoded(public_key: str) -> bytes:
    try:
        return base64.decode(public_key, what="public_key", max_bytes=MAX_KEY_FILE_BYTES)
    except MalformedEvidence as error:
        raise inputs.invalid(
            error.detail, "copy public_key from the creator's public key file"
        ) from None
