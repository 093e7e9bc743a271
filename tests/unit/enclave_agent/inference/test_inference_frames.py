"""The frame protocol between agent and worker."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.inference import frames
from sealward.enclave_agent.inference.frames import Frame, Kind, MalformedFrame
from sealward.enclave_agent.inference.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealward.verifier.wire.json import Value

TENSORS = (
    Tensor("a", Datatype.INT16, (2,), b"\x01\0\x02\0"),
    Tensor("b", Datatype.BYTES, (1,), b"\x02\0\0\0hi"),
    Tensor("none found", Datatype.FP32, (0, 4), b""),
)


def exactly(data: bytes) -> Callable[[int], bytes]:
    stream = io.BytesIO(data)

    def take(size: int) -> bytes:
        got = stream.read(size)
        if len(got) != size:
            raise MalformedFrame("end")
        return got

    return take


def whole() -> bytes:
    body = [tensor.data for tensor in TENSORS]
    return b"".join(frames.encode(Kind.INFER, {"tensors": frames.describe(TENSORS)}, body))


def test_tensors_travel_through_a_frame():
    frame = frames.read(exactly(whole()))
    assert frame.kind is Kind.INFER
    assert frames.tensors(frame) == TENSORS


def check_total(data: bytes) -> None:
    try:
        frame = frames.read(exactly(data))
    except MalformedFrame:
        return
    size = sum(frames.read_prefix(data[:12])) + 12
    again = b"".join(frames.encode(frame.kind, frame.members, [frame.body]))  # type: ignore[arg-type] # what was read is canonical
    assert again == data[:size], "one frame has one encoding"
    try:
        frames.tensors(frame)
    except MalformedFrame:
        return


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_malformed(data: bytes):
    check_total(data)


@given(st.integers(0, len(whole()) - 1), st.integers(1, 255), st.integers(0, 3))
def test_a_changed_frame_is_another_frame_or_malformed(at: int, flip: int, cut: int):
    data = bytearray(whole())
    data[at] ^= flip
    check_total(bytes(data[: len(data) - cut]))


MEMBER = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 40) | st.text(max_size=5) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "datatype", "shape", "size"]), inner)
    ),
    max_leaves=15,
)


@given(st.lists(MEMBER, max_size=4), st.binary(max_size=30))
def test_any_tensor_list_is_read_or_malformed(listed: list[Value], body: bytes):
    try:
        frames.tensors(Frame(Kind.RESULT, {"tensors": listed}, body))
    except MalformedFrame:
        return


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"{}",
        b'{"kind":"dance"}',
        b'{"kind":1}',
        b'{"kind": "infer"}',
        b'{"b":1,"a":2,"kind":"infer"}',
        b'{"kind":"infer","x":1.5}',
        b'{"kind":"infer","kind":"infer"}',
        b'{"kind":"infer"}\n',
    ],
)
def test_a_header_that_is_not_the_canonical_one_is_malformed(header: bytes):
    with pytest.raises(MalformedFrame):
        frames.read_header(header, b"")


def test_a_frame_beyond_the_budget_is_malformed_before_it_is_read():
    for header, body in ((frames.MAX_HEADER + 1, 0), (2, frames.MAX_BODY + 1)):
        with pytest.raises(MalformedFrame, match="budget"):
            frames.read_prefix(header.to_bytes(4, "big") + body.to_bytes(8, "big"))
    with pytest.raises(MalformedFrame):
        frames.read_prefix(bytes(11))


def test_list_and_body_must_agree():
    listed = frames.describe(TENSORS[:1])
    for members, body in (
        ({"tensors": listed}, b"\x01\0\x02\0tail"),
        ({"tensors": listed}, b"\x01\0"),
        ({"tensors": [*listed, *listed]}, b"\x01\0\x02\0" * 2),
        ({}, b""),
    ):
        with pytest.raises(MalformedFrame):
            frames.tensors(Frame(Kind.RESULT, members, body))  # type: ignore[arg-type] # hostile on purpose
