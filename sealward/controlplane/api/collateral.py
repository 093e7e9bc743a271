"""Collateral over HTTP. A file is imported as it is; what it holds is read from its bytes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Self

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from sealward.controlplane.api.route import (
    Caller,
    GuardedRoute,
    PageView,
    Paging,
    RawBody,
    Services,
    View,
    raw_body,
)
from sealward.controlplane.domain.collateral import CollateralState, StoredCollateral
from sealward.controlplane.domain.collateral_forecast import Cliff, Ending, Mend
from sealward.controlplane.domain.errors import Code
from sealward.controlplane.services import inputs
from sealward.controlplane.services.collateral import Acceptance, Outcome
from sealward.controlplane.services.collateral_forecast import MAX_DAYS, Outlook, Shift
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.wire import base64

router = APIRouter(route_class=GuardedRoute, prefix="/collateral", tags=["collateral"])

_DAYS: Final = 30
_FILE: Final = raw_body("application/octet-stream", {"type": "string", "format": "binary"})


class CollateralView(View):
    """One piece: what it is for, its dates, and whether verification is answered with it."""

    digest: str
    kind: Kind
    name: str
    state: CollateralState
    issued: datetime
    next_update: datetime
    expired: bool
    number: str | None
    signer: str
    development: bool
    source: str
    accepted: datetime
    size: int

    @classmethod
    def of(cls, piece: StoredCollateral, now: datetime) -> Self:
        """Show one, as of `now`."""
        return cls(
            digest=piece.digest,
            kind=piece.kind,
            name=piece.name,
            state=piece.state,
            issued=piece.issued,
            next_update=piece.next_update,
            expired=now > piece.next_update,
            number=None if piece.number is None else str(piece.number),
            signer=piece.signer,
            development=piece.development,
            source=piece.source,
            accepted=piece.accepted,
            size=len(piece.content),
        )


class FloorView(View):
    """What a piece of this key must not be below."""

    number: str | None
    issued: datetime


class PieceView(CollateralView):
    """One piece with the floor of its key and its bytes."""

    floor: FloorView | None
    content: str


class AcceptanceView(View):
    """What became of one piece of an import."""

    kind: Kind
    name: str
    digest: str
    outcome: Outcome
    code: Code | None
    detail: str

    @classmethod
    def of(cls, result: Acceptance) -> Self:
        """Show one."""
        return cls(
            kind=result.key.kind,
            name=result.key.name,
            digest=result.digest,
            outcome=result.outcome,
            code=result.code,
            detail=result.detail,
        )


class ImportView(View):
    """What became of every piece of an import."""

    items: list[AcceptanceView]


class CliffView(View):
    """What ends at one instant."""

    at: datetime
    component: str
    nodes: int
    leases: int
    mend: Mend
    hint: str

    @classmethod
    def of(cls, cliff: Cliff) -> Self:
        """Show one."""
        return cls(
            at=cliff.at,
            component=cliff.component,
            nodes=cliff.nodes,
            leases=cliff.leases,
            mend=cliff.mend,
            hint=cliff.hint,
        )


class OutlookView(View):
    """The whole fleet until an instant."""

    as_of: datetime
    until: datetime
    nodes: int
    ending: int
    unknown: int
    endings: list[CliffView]

    @classmethod
    def of(cls, outlook: Outlook) -> Self:
        """Show one."""
        return cls(
            as_of=outlook.as_of,
            until=outlook.until,
            nodes=outlook.nodes,
            ending=outlook.ending,
            unknown=outlook.unknown,
            endings=[CliffView.of(cliff) for cliff in outlook.cliffs],
        )


class EndingView(View):
    """The first thing of a node that ends."""

    node_id: str
    at: datetime
    component: str
    leases: int
    mend: Mend
    hint: str

    @classmethod
    def of(cls, ending: Ending) -> Self:
        """Show one."""
        return cls(
            node_id=ending.node_id,
            at=ending.at,
            component=ending.component,
            leases=ending.leases,
            mend=ending.mend,
            hint=ending.hint,
        )


class ShiftView(View):
    """What a proposed piece does to one node."""

    node_id: str
    before: str
    after: str
    advisories: list[str]
    leases: int

    @classmethod
    def of(cls, shift: Shift) -> Self:
        """Show one."""
        return cls(
            node_id=shift.node_id,
            before=shift.before,
            after=shift.after,
            advisories=list(shift.advisories),
            leases=shift.leases,
        )


class ProposalView(View):
    """What a proposed piece would change; nothing of it is stored."""

    kind: Kind
    name: str
    number: str | None
    issued: datetime
    next_update: datetime
    examined: int
    shifts: list[ShiftView]


class Named(BaseModel):
    """What a file is, `<kind>:<name>`: needed only where its bytes do not say it all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    named: Annotated[str | None, Field(max_length=512)] = None

    def key(self) -> Key | None:
        """Return the key; invalid_request."""
        if self.named is None:
            return None
        kind, _, name = self.named.partition(":")
        if kind not in {one.value for one in Kind} or not name:
            raise inputs.invalid(
                "named is not <kind>:<name>", f"a kind is one of {', '.join(Kind)}"
            )
        return Key(Kind(kind), name)


class ListQuery(Paging):
    """Which pieces."""

    kind: Kind | None = None
    state: CollateralState | None = None


class Days(BaseModel):
    """How far to look ahead."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: Annotated[int, Field(ge=1, le=MAX_DAYS)] = _DAYS


class DaysPage(Paging):
    """How far to look ahead, page by page."""

    days: Annotated[int, Field(ge=1, le=MAX_DAYS)] = _DAYS


@router.post("", status_code=201, openapi_extra=_FILE)
def import_file(
    data: RawBody, query: Annotated[Named, Query()], caller: Caller, services: Services
) -> ImportView:
    """Accept a vendor's file, a QuoteCollateralV3 bundle, or an archive; verified first."""
    results = services.collateral.import_file(caller, data, named=query.key())
    return ImportView(items=[AcceptanceView.of(result) for result in results])


@router.get("")
def page(
    query: Annotated[ListQuery, Query()], caller: Caller, services: Services
) -> PageView[CollateralView]:
    """List pieces by kind, name and digest, superseded ones included."""
    found = services.collateral.page(
        caller, limit=query.limit, after=query.after, kind=query.kind, state=query.state
    )
    now = services.collateral.on.clock.now()
    return PageView(
        items=[CollateralView.of(piece, now) for piece in found.items], after=found.after
    )


@router.get("/archive")
def export(caller: Caller, services: Services) -> Response:
    """Return everything that is current and in date as one archive."""
    return Response(services.collateral.export(caller), media_type="application/json")


@router.get("/forecast")
def outlook(query: Annotated[Days, Query()], caller: Caller, services: Services) -> OutlookView:
    """Say what ends when, and for how many nodes and leases, if nothing is renewed."""
    return OutlookView.of(services.forecasts.outlook(caller, days=query.days))


@router.get("/forecast/nodes")
def nodes(
    query: Annotated[DaysPage, Query()], caller: Caller, services: Services
) -> PageView[EndingView]:
    """List the nodes that something of ends, by node id."""
    found = services.forecasts.nodes(caller, days=query.days, limit=query.limit, after=query.after)
    return PageView(items=[EndingView.of(item) for item in found.items], after=found.after)


@router.post("/forecast/proposed", openapi_extra=_FILE)
def proposed(
    data: RawBody, query: Annotated[Named, Query()], caller: Caller, services: Services
) -> ProposalView:
    """Say which nodes a newer piece would rate otherwise; nothing is stored."""
    found = services.forecasts.proposal(caller, data, named=query.key())
    piece = found.piece
    return ProposalView(
        kind=piece.key.kind,
        name=piece.key.name,
        number=None if piece.number is None else str(piece.number),
        issued=piece.issued,
        next_update=piece.next_update,
        examined=found.examined,
        shifts=[ShiftView.of(shift) for shift in found.shifts],
    )


@router.get("/{digest}")
def get(digest: str, caller: Caller, services: Services) -> PieceView:
    """Return one piece with its bytes and the floor of its key."""
    piece, floor = services.collateral.get(caller, digest)
    shown = CollateralView.of(piece, services.collateral.on.clock.now())
    return PieceView(
        **shown.model_dump(),
        floor=None
        if floor is None
        else FloorView(
            number=None if floor.number is None else str(floor.number), issued=floor.issued
        ),
        content=base64.encode(piece.content),
    )
