"""The one place where refusals become gRPC statuses.

A node learns a coarse code and a correlation id, in the trailing metadata `sealward-code` and
`sealward-correlation-id`; what was expected and found stays with those who have the right to see
it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

import grpc
import structlog

from sealward.controlplane.domain import node_words
from sealward.controlplane.domain.errors import (
    Code,
    Conflict,
    DomainError,
    NotFound,
    Refused,
    Unavailable,
)
from sealward.controlplane.rpc.peer import Context

CODE_KEY: Final = "sealward-code"
CORRELATION_KEY: Final = "sealward-correlation-id"

_BY_CODE: Final = {
    Code.invalid_request: grpc.StatusCode.INVALID_ARGUMENT,
    Code.evidence_malformed: grpc.StatusCode.INVALID_ARGUMENT,
    Code.challenge_invalid: grpc.StatusCode.INVALID_ARGUMENT,
    Code.payload_too_large: grpc.StatusCode.INVALID_ARGUMENT,
    Code.unsupported_protocol: grpc.StatusCode.INVALID_ARGUMENT,
    Code.unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Code.rate_limited: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_BY_FAULT: Final[dict[type[DomainError], grpc.StatusCode]] = {
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.ABORTED,
    Refused: grpc.StatusCode.PERMISSION_DENIED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}

_log = structlog.get_logger(__name__)


def status_of(error: DomainError) -> grpc.StatusCode:
    """Return the gRPC status for a refusal: by whose fault it is."""
    return _BY_CODE.get(error.code) or _BY_FAULT[type(error)]


async def abort(
    context: Context,
    error: Exception,
    *,
    call: str,
    correlation_id: str,
    count: Callable[[str, str], None],
) -> NoReturn:
    """End the call with what the node may know, count it, and log what an operator needs."""
    if isinstance(error, DomainError):
        _log.info(
            "call refused",
            call=call,
            code=error.code.value,
            detail=error.detail,
            correlation_id=correlation_id,
        )
        status, code = status_of(error), error.code.value
        word = node_words.of_refusal(error.code).value
    else:
        _log.error("call failed", call=call, correlation_id=correlation_id, exc_info=error)
        status, code = grpc.StatusCode.INTERNAL, "internal"
        word = code
    count(call, code)
    metadata = ((CODE_KEY, word), (CORRELATION_KEY, correlation_id))
    await context.abort(status, word, trailing_metadata=metadata)
    raise AssertionError("abort does not return")
