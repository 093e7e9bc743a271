"""Load orders, and what a worker says of its model, are read strictly."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.inference import frames, load_order, signature
from sealward.enclave_agent.inference.errors import InvalidRequest
from sealward.enclave_agent.inference.frames import Frame, Kind, MalformedFrame
from sealward.enclave_agent.inference.load_order import Initializer, LoadOrder, Profile, Region
from sealward.enclave_agent.inference.signature import ANY, Signature, TensorSpec
from sealward.enclave_agent.inference.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from sealward.verifier.wire.json import Value

ORDER = LoadOrder(
    graph=Region(5, 100),
    weights=Region(6, 8192),
    initializers=(
        Initializer("w", Datatype.FP32, (2, 3), 0),
        Initializer("scalar", Datatype.INT8, (), 4096),
    ),
    profile=Profile.STRICT,
    threads=1,
    max_private_bytes=1 << 30,
)
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (ANY, 4)), TensorSpec("k", Datatype.INT64, ())),
    (TensorSpec("y", Datatype.FP32, (ANY, 2)), TensorSpec("z", Datatype.BYTES, (ANY,))),
)


def frame_of(order: LoadOrder) -> Frame:
    return frames.read(io.BytesIO(b"".join(order.to_frame())).read)


def test_an_order_arrives_as_it_was_given():
    assert load_order.read(frame_of(ORDER)) == ORDER


CHANGES: dict[str, Any] = {
    "graph": [5],
    "weights": None,
    "initializers": [["w", "FP32", [2049], 0]],
    "profile": "fast",
    "threads": -1,
    "max_private_bytes": True,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_member_is_malformed(name: str):
    frame = frame_of(ORDER)
    frame.members[name] = CHANGES[name]
    with pytest.raises(MalformedFrame):
        load_order.read(frame)


@pytest.mark.parametrize("name", CHANGES)
def test_a_missing_member_is_malformed(name: str):
    frame = frame_of(ORDER)
    del frame.members[name]
    with pytest.raises(MalformedFrame):
        load_order.read(frame)


@pytest.mark.parametrize(
    "entry",
    [
        ["w", "FP32", [1], 8190],
        ["w", "FP32", [1], 2],
        ["w", "BYTES", [1], 0],
        ["w", "FP32", [-1], 0],
        ["w", "FP32", [1 << 60, 1 << 60], 0],
        ["w", "FP32", [1] * 17, 0],
        ["w", "FP31", [1], 0],
        [1, "FP32", [1], 0],
        ["w", "FP32", [1]],
        {},
    ],
)
def test_an_initialiser_outside_its_weights_is_malformed(entry: Value):
    with pytest.raises(MalformedFrame):
        load_order.read_initializers([entry], 8192)


def test_two_initialisers_of_one_name_are_malformed():
    with pytest.raises(MalformedFrame, match="one name"):
        load_order.read_initializers([["w", "INT8", [1], 0], ["w", "INT8", [1], 1]], 8192)


def test_only_a_load_frame_is_an_order():
    with pytest.raises(MalformedFrame):
        load_order.read(Frame(Kind.INFER, frame_of(ORDER).members))


ANYTHING = st.recursive(
    st.none() | st.integers(-2, 9) | st.text(max_size=4) | st.sampled_from([*Datatype]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "datatype", "shape"]), inner)
    ),
    max_leaves=12,
)


@given(ANYTHING, ANYTHING)
def test_readers_of_worker_words_are_total(first: Value, second: Value):
    for read in (
        lambda: signature.read(first, second),
        lambda: load_order.read_initializers(first, 100),
    ):
        try:
            read()
        except MalformedFrame:
            continue


def test_a_signature_arrives_as_it_was_said():
    members: Any = SIGNATURE.to_frame()
    assert signature.read(members["inputs"], members["outputs"]) == SIGNATURE


X = Tensor("x", Datatype.FP32, (1, 4), bytes(16))
K = Tensor("k", Datatype.INT64, (), bytes(8))


def test_fitting_inputs_pass_in_any_order():
    SIGNATURE.check_inputs((K, X))


@pytest.mark.parametrize(
    ("given_inputs", "why"),
    [
        ((X,), "inputs are 'k', 'x', not 'x'"),
        ((), "not none"),
        ((X, K, X), "twice"),
        ((X, Tensor("k", Datatype.INT32, (), bytes(4))), "'k' is INT64, not INT32"),
        ((K, Tensor("x", Datatype.FP32, (1, 5), bytes(20))), r"shape \[-1, 4\], not \[1, 5\]"),
        ((K, Tensor("x", Datatype.FP32, (4,), bytes(16))), "shape"),
    ],
)
def test_other_inputs_are_refused_with_what_would_fit(given_inputs: tuple[Tensor, ...], why: str):
    with pytest.raises(InvalidRequest, match=why):
        SIGNATURE.check_inputs(given_inputs)


def test_outputs_are_all_or_those_named():
    assert SIGNATURE.select_outputs(()) == ("y", "z")
    assert SIGNATURE.select_outputs(("z",)) == ("z",)
    for names in (("z", "z"), ("w",)):
        with pytest.raises(InvalidRequest):
            SIGNATURE.select_outputs(names)
