"""The few pieces of HTTP that the inference server needs, on raw ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from json import dumps
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from sealward.verifier.wire.json import Canonical

# As uvicorn's own ASGI types have them: messages of a foreign protocol are untyped mappings.
Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

HEADER_LENGTH: Final = b"inference-header-content-length"
_JSON: Final = (b"content-type", b"application/json")
_BINARY: Final = (b"content-type", b"application/octet-stream")
_BASE: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_MAX_DIGITS: Final = 12  # of a length in a header: beyond any budget, and cheap to convert


class HttpRefusal(Exception):
    """A request that HTTP itself settles, with the status and code to answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status: Final = status
        self.code: Final = code
        super().__init__(message)


class ClientGone(Exception):
    """The client closed the connection while it was sending."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer, made before its first byte is sent."""

    status: int
    body: bytes = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = (*_BASE, *self.headers, (b"content-length", str(len(self.body)).encode()))
        start = {"type": "http.response.start", "status": self.status, "headers": [*headers]}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})


def json_response(status: int, value: Canonical) -> Response:
    """Answer a JSON value."""
    return Response(status, dumps(value, separators=(",", ":")).encode())


def error_response(status: int, code: str, message: str) -> Response:
    """Answer an error in the protocol's form, with our closed code beside its text."""
    body = dumps({"error": message, "code": code}, separators=(",", ":")).encode()
    headers = [_JSON]
    if status == 401:  # noqa: PLR2004 - RFC 9110 15.5.2 demands the challenge
        headers.append((b"www-authenticate", b"Bearer"))
    if status in (429, 503):
        headers.append((b"retry-after", b"1"))
    return Response(status, body, tuple(headers))


def tensor_response(body: bytes, json_length: int | None) -> Response:
    """Answer an inference; `json_length` is None when no binary data follows the JSON."""
    if json_length is None:
        return Response(200, body)
    return Response(200, body, (_BINARY, (HEADER_LENGTH, str(json_length).encode())))


class Request:
    """The head of a request, and its body when it is asked for.

    Attributes:
        method: as sent.
        path: percent-decoded path.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: Final[str] = scope["method"]
        self.path: Final[str] = scope["path"]
        self._headers: Final[Iterable[tuple[bytes, bytes]]] = scope["headers"]
        self._receive = receive

    def header(self, name: bytes) -> str | None:
        """Return a header, None when absent.

        Raises:
            HttpRefusal: 400, it is there twice: two readers would disagree about it.
        """
        values = [value for key, value in self._headers if key == name]
        if len(values) > 1:
            raise HttpRefusal(400, "malformed_request", f"two {name.decode()} headers")
        return values[0].decode("latin-1") if values else None

    def length(self, name: bytes) -> int | None:
        """Return a header that is a length in bytes, None when absent.

        Raises:
            HttpRefusal: 400, it is not a plain decimal number.
        """
        text = self.header(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
            raise HttpRefusal(400, "malformed_request", f"{name.decode()} is not a length")
        return int(text)

    def bearer_token(self) -> str:
        """Return the bearer token (RFC 6750 2.1).

        Raises:
            HttpRefusal: 401, there is none.
        """
        scheme, _, token = (self.header(b"authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise HttpRefusal(401, "unauthenticated", "send `Authorization: Bearer <client token>`")
        return token

    async def body(self, *, max_bytes: int, seconds: float) -> bytes:
        """Read the body.

        Raises:
            HttpRefusal: 413 beyond `max_bytes`, said or sent; 408 not whole within `seconds`;
                415 encoded: what is budgeted must be what is read.
            ClientGone: the connection closed.
        """
        encoding = self.header(b"content-encoding")
        if encoding not in (None, "identity"):
            raise HttpRefusal(415, "unsupported_encoding", "send the body without Content-Encoding")
        announced = self.length(b"content-length")
        if announced is not None and announced > max_bytes:
            raise _too_large(max_bytes)
        try:
            async with asyncio.timeout(seconds):
                return await self._read(max_bytes)
        except TimeoutError:
            raise HttpRefusal(
                408, "body_timeout", f"the body did not arrive within {seconds:g} s"
            ) from None

    async def _read(self, max_bytes: int) -> bytes:
        pieces: list[bytes] = []
        total = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece: bytes = message.get("body", b"")
            total += len(piece)
            if total > max_bytes:
                raise _too_large(max_bytes)
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)


def _too_large(max_bytes: int) -> HttpRefusal:
    return HttpRefusal(413, "too_large", f"a request body has at most {max_bytes} bytes")
