"""The one place where refusals become HTTP: RFC 9457 problem documents with a closed code.

What went wrong on our side says nothing outside but a correlation id; the log has the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sealward.controlplane.api.answers import EscapedJson
from sealward.controlplane.api.envelope import CORRELATION_HEADER, correlation_id
from sealward.controlplane.domain.errors import (
    Code,
    Conflict,
    DomainError,
    NotFound,
    Unavailable,
)

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:sealward:problem:"

_MAX_ERRORS: Final = 20  # of one body; a client mends a few at a time
_MAX_POINTER: Final = 200  # characters; part of it is the caller's own text
_INTERNAL: Final = 500

# Where the kind of refusal does not already say it.
_STATUS_OF_CODE: Final[Mapping[Code, int]] = MappingProxyType(
    {
        Code.unauthenticated: 401,
        Code.token_expired: 401,
        Code.token_revoked: 401,
        Code.token_spent: 401,
        Code.forbidden: 403,
        Code.payload_too_large: 413,
        Code.rate_limited: 429,
        Code.keystore_refused: _INTERNAL,
        Code.schema_mismatch: _INTERNAL,
        Code.wrong_database: _INTERNAL,
    }
)


def status_of(error: DomainError) -> int:
    """Return the HTTP status of a refusal."""
    by_code = _STATUS_OF_CODE.get(error.code)
    if by_code is not None:
        return by_code
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Conflict):
        return 409
    if isinstance(error, Unavailable):
        return 503
    return 422


def from_domain(request: Request, error: Exception) -> Response:
    """Answer a DomainError."""
    assert isinstance(error, DomainError)  # noqa: S101 - registered for this class only
    status = status_of(error)
    headers = {}
    if status == 401:  # noqa: PLR2004 - RFC 9110 15.5.2
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:  # noqa: PLR2004 - RFC 9110 15.6.4
        headers["Retry-After"] = "1"
    if status >= _INTERNAL:
        return _problem(request, status, error.code, headers=headers)
    return _problem(
        request, status, error.code, detail=error.detail, hint=error.hint, headers=headers
    )


def from_validation(request: Request, error: Exception) -> Response:
    """Answer a body or query that is not of its form, without repeating what it held."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    errors = [
        {"pointer": _pointer(item["loc"]), "detail": str(item["msg"])}
        for item in error.errors()[:_MAX_ERRORS]
    ]
    first = f"{errors[0]['pointer']}: {errors[0]['detail']}" if errors else "not of its form"
    return _problem(
        request,
        422,
        Code.invalid_request,
        detail=first,
        hint="the API's description is at /v1/openapi.json",
        errors=errors,
    )


def from_http(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    missing = error.status_code == 404  # noqa: PLR2004 - RFC 9110 15.5.5
    return _problem(
        request,
        error.status_code,
        Code.not_found if missing else Code.invalid_request,
        detail="nothing is at this path" if missing else f"no {request.method} at this path",
        hint="the API's description is at /v1/openapi.json",
        headers=error.headers,
    )


def _pointer(location: Sequence[str | int]) -> str:
    """Return an RFC 6901 pointer, its first part `body`, `query` or `path`."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    return "/".join(parts)[:_MAX_POINTER]


def _problem(
    request: Request,
    status: int,
    code: Code,
    *,
    detail: str = "the log of the control plane has the cause under this correlation id",
    hint: str = "",
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    document: dict[str, object] = {
        "type": f"{TYPE_PREFIX}{code}",
        "title": code.replace("_", " "),
        "status": status,
        "code": str(code),
        "detail": detail,
        "correlation_id": correlation_id(request.scope),
    }
    if hint:
        document["hint"] = hint
    if errors:
        document["errors"] = list(errors)
    return EscapedJson(
        document,
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={**(headers or {}), CORRELATION_HEADER: correlation_id(request.scope)},
    )
