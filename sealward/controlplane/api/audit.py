"""The audit log over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from sealward.controlplane.api.route import (
    Caller,
    GuardedRoute,
    PageQuery,
    PageView,
    Services,
    View,
)
from sealward.controlplane.domain.audit import AuditEntry, AuditKind
from sealward.verifier.wire import json

router = APIRouter(route_class=GuardedRoute, prefix="/audit", tags=["audit"])

_MAX_STORED_BYTES = 16 * 1024 * 1024  # what was stored was bounded when it was made


class EntryView(View):
    """An audit entry; `log_index` is null until the sequencer has placed it."""

    entry_id: str
    kind: AuditKind
    created: datetime
    body: Any
    leaf_hash: str
    log_index: int | None

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Show one."""
        return cls(
            entry_id=entry.entry_id,
            kind=entry.kind,
            created=entry.created,
            body=json.decode(entry.body, what="stored entry", max_bytes=_MAX_STORED_BYTES),
            leaf_hash=entry.leaf_hash.hex(),
            log_index=entry.log_index,
        )


@router.get("/entries")
def page(query: PageQuery, caller: Caller, services: Services) -> PageView[EntryView]:
    """List entries by id, oldest first."""
    found = services.audit_log.page(caller, limit=query.limit, after=query.after)
    return PageView(items=[EntryView.of(item) for item in found.items], after=found.after)


@router.get("/checkpoint", response_class=Response)
def checkpoint(caller: Caller, services: Services) -> Response:
    """Return the newest signed checkpoint: a C2SP signed note, as it was signed."""
    return Response(services.audit_log.checkpoint(caller).note, media_type="text/plain")


@router.get("/log-key", response_class=Response)
def log_key(caller: Caller, services: Services) -> Response:
    """Return the public key that checkpoints are verified with."""
    return Response(services.audit_log.log_key(caller), media_type="text/plain")


@router.get("/export", response_class=StreamingResponse)
def export(caller: Caller, services: Services) -> StreamingResponse:
    """Stream the log up to its newest checkpoint, one canonical JSON object a line."""
    return StreamingResponse(services.audit_log.export(caller), media_type="application/jsonl")
