"""Tensor readers: total, strict, and exact in both directions."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sealward.enclave_agent.inference import tensors
from sealward.enclave_agent.inference.errors import Fault, InvalidRequest
from sealward.enclave_agent.inference.tensors import Datatype, Tensor, from_binary, from_json

if TYPE_CHECKING:
    from sealward.verifier.wire.json import Value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)
FIXED = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]
TEXTUAL = [datatype for datatype in FIXED if datatype is not Datatype.FP16]


@given(st.sampled_from(Datatype), SHAPES, JSON)
def test_the_json_reader_returns_a_consistent_tensor_or_its_one_error(
    datatype: Datatype, shape: tuple[int, ...], data: Value
):
    try:
        tensor = from_json("x", datatype, shape, data)
    except InvalidRequest:
        return
    assert from_binary("x", datatype, shape, tensor.data) == tensor


@given(st.sampled_from(Datatype), SHAPES, st.binary(max_size=80))
def test_the_binary_reader_returns_the_tensor_or_its_one_error(
    datatype: Datatype, shape: tuple[int, ...], data: bytes
):
    try:
        tensor = from_binary("x", datatype, shape, data)
    except InvalidRequest:
        return
    assert tensor == Tensor("x", datatype, shape, data)
    if datatype is Datatype.BYTES:
        parts = tensors.split_bytes(data, math.prod(shape), "x")
        assert tensors.join_bytes(parts) == data


@given(JSON, st.integers(0, 1))
def test_the_shape_reader_is_total(value: Value, least: int):
    try:
        shape = tensors.read_shape(value, "x", least=least)
    except InvalidRequest:
        return
    assert all(dim >= least for dim in shape)


@given(st.data(), st.sampled_from(TEXTUAL), SHAPES)
def test_json_text_gives_the_very_same_bits_back(
    data: st.DataObject, datatype: Datatype, shape: tuple[int, ...]
):
    array = data.draw(npst.arrays(tensors.dtype_of(datatype), shape or (1,)))
    original = from_binary("x", datatype, array.shape, array.tobytes())
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        with pytest.raises(InvalidRequest):
            tensors.to_json(original)
        return
    text = json.dumps(tensors.to_json(original), allow_nan=False)
    again = from_json("x", datatype, array.shape, json.loads(text))  # noqa: TID251 - our own text
    assert again == original


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_strings_travel_through_json(texts: list[str]):
    encodable = [text.encode("utf-8", "replace").decode() for text in texts]
    tensor = from_json("x", Datatype.BYTES, (len(texts),), [*encodable])
    assert tensors.to_json(tensor) == encodable


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "why"),
    [
        (Datatype.INT8, (1,), [128], "outside INT8"),
        (Datatype.UINT64, (1,), [-1], "outside UINT64"),
        (Datatype.INT32, (1,), [1.0], "are integers"),
        (Datatype.INT32, (1,), [True], "are integers"),
        (Datatype.FP32, (1,), [1e39], "outside FP32"),
        (Datatype.FP32, (1,), ["1"], "are numbers"),
        (Datatype.FP64, (1,), [False], "are numbers"),
        (Datatype.BOOL, (1,), [1], "true or false"),
        (Datatype.BYTES, (1,), [1], "are strings"),
        (Datatype.FP16, (1,), [1.0], "binary"),
        (Datatype.INT8, (2,), [1], "2 elements, not 1"),
        (Datatype.INT8, (1, 2), [[1], [2]], "not nested"),
        (Datatype.INT8, (2, 2), [[1, 2], 3], "not nested"),
        (Datatype.INT8, (2,), [[1, 2]], "2 elements, not 1|integers|nested"),
        (Datatype.INT8, (1,), {"0": 1}, "not a list"),
    ],
)
def test_json_elements_of_another_kind_are_refused(
    datatype: Datatype, shape: tuple[int, ...], data: Value, why: str
):
    with pytest.raises(InvalidRequest, match=why):
        from_json("x", datatype, shape, data)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "why"),
    [
        (Datatype.INT32, (2,), bytes(7), "8 bytes, 7"),
        (Datatype.BOOL, (2,), b"\x01\x02", "0 or 1"),
        (Datatype.BYTES, (1,), b"\x05\0\0\0abc", "framing"),
        (Datatype.BYTES, (1,), b"\x01\0\0\0ab", "framing"),
        (Datatype.BYTES, (2,), b"\x01\0\0\0a", "framing"),
    ],
)
def test_raw_data_that_does_not_fit_is_refused(
    datatype: Datatype, shape: tuple[int, ...], data: bytes, why: str
):
    with pytest.raises(InvalidRequest, match=why):
        from_binary("x", datatype, shape, data)


def test_nested_and_flat_lists_are_one_tensor():
    nested = from_json("x", Datatype.INT16, (2, 2), [[1, 2], [3, 4]])
    assert nested == from_json("x", Datatype.INT16, (2, 2), [1, 2, 3, 4])
    assert nested.data == b"\x01\0\x02\0\x03\0\x04\0"


@pytest.mark.parametrize(
    "value", [None, [0], [-1], [1.0], [True], [1 << 40, 1 << 40], [1] * 17, "11", [1 << 27]]
)
def test_a_hostile_shape_is_refused(value: Value):
    with pytest.raises(InvalidRequest):
        tensors.read_shape(value, "x", least=1)


@pytest.mark.parametrize("value", ["FLOAT", "fp32", "", None, 3, ["FP32"], "BF16"])
def test_an_unknown_datatype_is_refused(value: Value):
    with pytest.raises(InvalidRequest, match="datatype"):
        tensors.read_datatype(value, "x")


def test_outputs_that_json_cannot_carry_name_the_way_out():
    for tensor in (
        Tensor("y", Datatype.FP32, (1,), np.array([np.nan], "<f4").tobytes()),
        Tensor("y", Datatype.FP64, (1,), np.array([-np.inf], "<f8").tobytes()),
        Tensor("y", Datatype.FP16, (1,), bytes(2)),
        Tensor("y", Datatype.BYTES, (1,), b"\x01\0\0\0\xff"),
    ):
        with pytest.raises(InvalidRequest, match="ask for it as binary data") as refusal:
            tensors.to_json(tensor)
        assert refusal.value.fault is Fault.NOT_REPRESENTABLE


def test_a_tensor_never_shows_its_data():
    assert "prompt" not in repr(Tensor("x", Datatype.BYTES, (1,), b"\x06\0\0\0prompt"))
