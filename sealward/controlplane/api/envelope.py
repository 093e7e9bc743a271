"""What surrounds every request: a correlation id, a body budget, one log line, no stray exception.

Plain ASGI, so that it holds before the framework has read or matched anything.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.domain.reference_values import MAX_DOCUMENT_BYTES
from sealward.controlplane.services.collateral_archive import MAX_ARCHIVE_BYTES, MAX_CONTENT
from sealward.sealing.header import MAX_REGISTRATION_BYTES

CORRELATION_HEADER: Final = "X-Correlation-Id"
MAX_BODY_BYTES: Final = 64 * 1024  # names, numbers and a reason
MAX_POLICY_BODY_BYTES: Final = 4 * 1024 * 1024  # a whole bundle as JSON text, escapes included

_CORRELATION: Final = re.compile(r"[A-Za-z0-9-]{8,64}")
_STATE: Final = "sealward.correlation_id"
_INTERNAL: Final = 500

_MODELS: Final = re.compile(r"/v1/workloads/[^/]+/models")
_BUDGETS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "/v1/policies": MAX_POLICY_BODY_BYTES,
        "/v1/reference-sets": MAX_DOCUMENT_BYTES,
        "/v1/collateral": MAX_ARCHIVE_BYTES,
        "/v1/collateral/forecast/proposed": MAX_CONTENT,
    }
)


def correlation_id(scope: Scope) -> str:
    """Return the id under which the log knows this request."""
    return str(scope.get(_STATE, ""))


def body_budget(path: str) -> int:
    """Return how many bytes a request to this path may carry."""
    if _MODELS.fullmatch(path):
        return MAX_REGISTRATION_BYTES
    return _BUDGETS.get(path, MAX_BODY_BYTES)


class Envelope:
    """The outermost ASGI application of the admin API."""

    def __init__(self, app: ASGIApp, *, random_bytes: RandomBytes) -> None:
        self._app = app
        self._random_bytes = random_bytes
        self._log: Any = structlog.get_logger("sealward.api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        presented = Headers(scope=scope).get(CORRELATION_HEADER, "")
        given = presented if _CORRELATION.fullmatch(presented) else self._random_bytes(16).hex()
        scope[_STATE] = given
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[CORRELATION_HEADER] = given
            await send(message)

        try:
            await self._app(scope, _within_budget(scope, receive), answer)
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is, it ends here
            # The text of an unforeseen exception may hold anything, so only its place is logged.
            places = [
                f"{f.filename}:{f.lineno} {f.name}"
                for f in traceback.extract_tb(error.__traceback__)
            ]
            self._log.error(
                "request failed", error=type(error).__name__, places=places, correlation_id=given
            )
            if status == 0:
                await _internal_error(answer, given)
        self._log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            correlation_id=given,
        )


def _within_budget(scope: Scope, receive: Receive) -> Receive:
    """Return a `receive` that refuses the first byte beyond the budget of the path.

    A body is first read after authentication, in the route, where the refusal becomes a 413.
    """
    budget = body_budget(scope["path"])
    declared = Headers(scope=scope).get("content-length", "0")
    left = budget if not declared.isdecimal() or int(declared) <= budget else -1

    async def bounded() -> Message:
        nonlocal left
        message = await receive() if left >= 0 else {"type": "http.request"}
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                raise Refused(
                    Code.payload_too_large,
                    f"a body here is at most {budget} bytes",
                    "send less, or split it",
                )
        return message

    return bounded


async def _internal_error(send: Send, given: str) -> None:
    """Answer 500 by hand: whatever failed may have been the framework itself."""
    body = json.dumps(
        {
            "type": f"urn:sealward:problem:{Code.internal_error}",
            "title": "internal error",
            "status": _INTERNAL,
            "code": str(Code.internal_error),
            "detail": "the log of the control plane has the cause under this correlation id",
            "correlation_id": given,
        }
    ).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": _INTERNAL, "headers": headers})
    await send({"type": "http.response.body", "body": body})
