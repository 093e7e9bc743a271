"""Every way a call can fail leaves the transport as one of two errors."""

from __future__ import annotations

import grpc
import pytest
from grpc import aio

from sealward.enclave_agent.messages import ProtocolViolation
from sealward.enclave_agent.transport import CallFailed, Refused, Unreachable, translated

REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNAUTHENTICATED,
}


def failure(status: grpc.StatusCode, details: str = "", **metadata: str) -> CallFailed:
    trailing = aio.Metadata(*((key.replace("_", "-"), value) for key, value in metadata.items()))
    with pytest.raises(CallFailed) as raised, translated():
        raise aio.AioRpcError(status, aio.Metadata(), trailing, details)
    return raised.value


@pytest.mark.parametrize("status", grpc.StatusCode)
def test_a_status_is_a_refusal_or_a_reason_to_try_again(status: grpc.StatusCode) -> None:
    """Only statuses by which the control plane itself says no are refusals."""
    assert isinstance(failure(status), Refused if status in REFUSALS else Unreachable)


def test_a_refusal_carries_the_code_and_the_correlation_id() -> None:
    denied = grpc.StatusCode.PERMISSION_DENIED
    told = failure(denied, "text", sealward_code="clone_detected", sealward_correlation_id="ab12")
    assert isinstance(told, Refused)
    assert (told.code, told.correlation_id) == ("clone_detected", "ab12")
    in_details = failure(denied, "node_unknown")
    assert isinstance(in_details, Refused)
    assert in_details.code == "node_unknown"


def test_a_refusal_that_is_not_in_form_is_named_by_its_status() -> None:
    """Nothing that a peer chose freely reaches logs or decisions as a code."""
    told = failure(
        grpc.StatusCode.NOT_FOUND, "\x1b[2J", sealward_code="No!", sealward_correlation_id="a b"
    )
    assert isinstance(told, Refused)
    assert (told.code, told.correlation_id) == ("not_found", "")


def test_details_of_a_lost_call_are_escaped_and_short() -> None:
    text = str(failure(grpc.StatusCode.UNAVAILABLE, "\x1b[2J" + "x" * 1000))
    assert text.isprintable()
    assert len(text) < 250


@pytest.mark.parametrize(
    "error", [ProtocolViolation("x"), aio.UsageError("x"), aio.InternalError("x")], ids=repr
)
def test_what_is_not_a_status_is_a_reason_to_try_again(error: Exception) -> None:
    with pytest.raises(Unreachable), translated():
        raise error
