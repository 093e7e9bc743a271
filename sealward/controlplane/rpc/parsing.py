"""Bytes that are no message of the contract, answered like every other refusal: with a code.

gRPC parses requests before a handler sees them and answers what does not parse with a status of its
own and the parser's text. Here a request reaches the handler's side as bytes, so that this refusal
has a code and a correlation id too, and says nothing of our insides. It has been measured by then:
what is larger than its method needs is not parsed and waits nowhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.rpc.arrivals import Arrivals
from sealward.controlplane.rpc.errors import abort
from sealward.controlplane.rpc.peer import Context
from sealward.controlplane.services.evidence import MAX_EVIDENCE_BYTES
from sealward.protos import agent_pb2
from sealward.protos.tpm_node import MAX_RUNTIME_LOG

_MAX_REST: Final = 64 << 10  # of a request beside evidence and log: binding and names, below 16 KiB
MAX_MESSAGE: Final = MAX_EVIDENCE_BYTES + MAX_RUNTIME_LOG + _MAX_REST
_BUDGETS: Final = {  # in bytes; other methods take evidence
    "GetChallenge": 4 << 10,  # a key
    "GetCredential": 32 << 10,  # keys, and a certificate of at most 8 KiB
    "Watch": 128 << 10,  # a wipe statement of at most 64 KiB
}
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Unary: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
_Stream: TypeAlias = Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]]
_Parse: TypeAlias = Callable[[bytes], Any]


class StrictParsing(grpc.aio.ServerInterceptor):
    """Parses the requests of every method.

    Args:
        random_bytes: for correlation ids.
        count: told of every refusal, by call and code.
        arrivals: where unary calls wait for their message.
    """

    def __init__(
        self, random_bytes: RandomBytes, count: Callable[[str, str], None], arrivals: Arrivals
    ) -> None:
        self._random_bytes = random_bytes
        self._count = count
        self._arrivals = arrivals
        self._handlers: dict[str, _Handler] = {}  # of the contract's methods, as they are called

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Return the method's handler with its parser moved inside."""
        method = handler_call_details.method
        if method not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None  # no such method: gRPC says so itself
            self._handlers[method] = self._inside(method.rpartition("/")[2], handler)
        return self._handlers[method]

    def _inside(self, call: str, handler: _Handler) -> _Handler:
        parse = cast("_Parse", handler.request_deserializer)  # the contract sets one everywhere
        if handler.unary_unary is not None:  # the casts: handlers of grpc.aio are coroutines
            # On the wire a stream of one message is the same; but gRPC waits for that of a unary
            # call itself, without end.
            return grpc.stream_unary_rpc_method_handler(
                self._unary(call, parse, cast("_Unary", handler.unary_unary)),
                response_serializer=handler.response_serializer,
            )
        return grpc.stream_stream_rpc_method_handler(
            _stream(call, parse, cast("_Stream", handler.stream_stream)),
            response_serializer=handler.response_serializer,
        )

    def _unary(self, call: str, parse: _Parse, behaviour: _Unary) -> _Unary:
        async def behave(_: object, context: Context) -> Any:  # noqa: ANN401 - the method's answer
            try:
                request = _parsed(call, parse, await self._arrivals.message(context))
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


def _stream(call: str, parse: _Parse, behaviour: _Stream) -> _Stream:
    async def parsed(incoming: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in incoming:
            yield _parsed(call, parse, data)  # a stream's handler answers refusals itself

    async def behave(incoming: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        async for message in behaviour(parsed(incoming), context):
            yield message

    return behave


def _parsed(call: str, parse: _Parse, data: bytes) -> Any:  # noqa: ANN401 - whichever message the method takes
    if len(data) > _BUDGETS.get(call, MAX_MESSAGE):
        raise _too_large("the request")
    try:
        request = parse(data)
    except DecodeError:
        raise Refused(Code.invalid_request, "the request is not a message of this method") from None
    if isinstance(request, agent_pb2.EnrollRequest | agent_pb2.AttestRequest):
        _require_sizes(request, len(data))
    return request


def _require_sizes(request: agent_pb2.EnrollRequest | agent_pb2.AttestRequest, whole: int) -> None:
    evidence, log = len(request.evidence), len(request.runtime_log.data)
    if evidence > MAX_EVIDENCE_BYTES:
        raise _too_large("the evidence")
    if log > MAX_RUNTIME_LOG:
        raise _too_large("the runtime log")
    if whole - evidence - log > _MAX_REST:
        raise _too_large("what came beside evidence and runtime log")


def _too_large(what: str) -> Refused:
    return Refused(Code.payload_too_large, f"{what} is larger than any that is in order")
