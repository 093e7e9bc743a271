"""How every resource module meets HTTP: authenticate first, then read the body, strictly.

The framework's own order is the opposite one: it would read and parse the body of a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

from fastapi import Depends, Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import MAX_PAGE
from sealward.controlplane.services.admin import AdminServices
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

_BEARER: Final = "bearer "
_DEFAULT_PAGE: Final = 100
_MAX_CURSOR: Final = 1024  # characters; a cursor is a key or a few
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]

ItemT = TypeVar("ItemT")


class Strict(BaseModel):
    """The base of every request body: unknown members refused, no type bent into another."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True)


class View(BaseModel):
    """The base of every answer."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)


class Paging(BaseModel):
    """The query of every list; unknown parameters are refused, not ignored."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = _DEFAULT_PAGE
    after: Annotated[str | None, Field(max_length=_MAX_CURSOR)] = None


class PageView(View, Generic[ItemT]):
    """One page: the items and the cursor of the next page, null after the last."""

    items: list[ItemT]
    after: str | None


class _StrictRequest(Request):
    """A request whose JSON body was read by our strict reader."""

    decoded: json.Value = None

    async def json(self) -> Any:  # noqa: ANN401 - the framework's signature
        return self.decoded


class OpenRoute(APIRoute):
    """A route for anybody, with a strict body."""

    def get_route_handler(self) -> _Handler:
        """Wrap the framework's handler."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            strict = _StrictRequest(request.scope, request.receive)
            await self.admit(strict)
            if _is_json(strict):
                strict.decoded = _decode(await strict.body())
            return await handle(strict)

        return strictly

    async def admit(self, request: Request) -> None:
        """Let everybody in."""


class GuardedRoute(OpenRoute):
    """A route for principals: a stranger is refused before a byte of the body is read."""

    async def admit(self, request: Request) -> None:
        """Find out who asks.

        Raises:
            Refused: unauthenticated, token_expired, token_revoked.
        """
        authenticate = services_of(request).principals.authenticate
        request.state.principal = await run_in_threadpool(authenticate, bearer_of(request))


def services_of(request: Request) -> AdminServices:
    """Return the use cases that this application was made for."""
    services: AdminServices = request.app.state.services
    return services


def bearer_of(request: Request) -> str:
    """Return the bearer credential of a request.

    Raises:
        Refused: unauthenticated, there is none or more than one.
    """
    given = request.headers.getlist("authorization")
    if len(given) != 1 or not given[0].lower().startswith(_BEARER):
        raise Refused(
            Code.unauthenticated,
            "no bearer token",
            "send one Authorization header with a service token",
        )
    return given[0][len(_BEARER) :].strip()


def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


async def _body(request: Request) -> bytes:
    return await request.body()


Caller = Annotated[Principal, Depends(_principal)]
Services = Annotated[AdminServices, Depends(services_of)]
RawBody = Annotated[bytes, Depends(_body)]
PageQuery = Annotated[Paging, Query()]


def raw_body(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return what OpenAPI says of a route that takes its body as it comes."""
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def _is_json(request: Request) -> bool:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return given == "application/json"


def _decode(body: bytes) -> json.Value:
    try:
        return json.decode(body, what="request body", max_bytes=len(body))
    except MalformedEvidence as error:
        raise Refused(
            Code.invalid_request, error.detail, "send one strict JSON value in UTF-8"
        ) from None
