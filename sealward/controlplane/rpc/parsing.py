"""Bytes that are no message of the contract, answered like every other refusal: with a code.

gRPC parses requests before a handler sees them and answers what does not parse with a status of its
own and the parser's text. Here a request reaches the handler's side as bytes, so that this refusal
has a code and a correlation id too, and says nothing of our insides.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.rpc.errors import abort
from sealward.controlplane.rpc.peer import Context

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Unary: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
_Stream: TypeAlias = Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]]
_Parse: TypeAlias = Callable[[bytes], Any]


class StrictParsing(grpc.aio.ServerInterceptor):
    """Parses the requests of every method.

    Args:
        random_bytes: for correlation ids.
        count: told of every refusal, by call and code.
    """

    def __init__(self, random_bytes: RandomBytes, count: Callable[[str, str], None]) -> None:
        self._random_bytes = random_bytes
        self._count = count

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Return the method's handler with its parser moved inside."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # no such method: gRPC says so itself
        parse = cast("_Parse", handler.request_deserializer)  # the contract sets one everywhere
        call = handler_call_details.method.rpartition("/")[2]
        if handler.unary_unary is not None:  # the casts: handlers of grpc.aio are coroutines
            return grpc.unary_unary_rpc_method_handler(
                self._unary(call, parse, cast("_Unary", handler.unary_unary)),
                response_serializer=handler.response_serializer,
            )
        return grpc.stream_stream_rpc_method_handler(
            _stream(parse, cast("_Stream", handler.stream_stream)),
            response_serializer=handler.response_serializer,
        )

    def _unary(self, call: str, parse: _Parse, behaviour: _Unary) -> _Unary:
        async def behave(data: bytes, context: Context) -> Any:  # noqa: ANN401 - the method's answer
            try:
                request = _parsed(parse, data)
            except Refused as error:
                correlation_id = self._random_bytes(8).hex()
                await abort(
                    context,
                    error,
                    call=call,
                    correlation_id=correlation_id,
                    count=self._count,
                )
            return await behaviour(request, context)

        return behave


def _stream(parse: _Parse, behaviour: _Stream) -> _Stream:
    async def parsed(incoming: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in incoming:
            yield _parsed(parse, data)  # a stream's handler answers refusals itself

    async def behave(incoming: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        async for message in behaviour(parsed(incoming), context):
            yield message

    return behave


def _parsed(parse: _Parse, data: bytes) -> Any:  # noqa: ANN401 - whichever message the method takes
    try:
        return parse(data)
    except DecodeError:
        raise Refused(Code.invalid_request, "the request is not a message of this method") from None
