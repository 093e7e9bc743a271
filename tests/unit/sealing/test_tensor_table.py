"""The tensor table has one layout, and reading it needs no ONNX."""

from __future__ import annotations

import pytest

from sealward.sealing.errors import Code, MalformedSealedModel
from sealward.sealing.tensor_table import DType, Tensor, TensorTable
from sealward.verifier.wire import json

FIRST = Tensor(name="w/0", dtype=DType.FLOAT32, shape=(16, 20), offset=0, length=1280)
SECOND = Tensor(name="b:0 é", dtype=DType.INT8, shape=(2000,), offset=4096, length=2000)
TABLE = TensorTable((FIRST, SECOND))
WEIGHTS_BYTES = 4096 + 2000


def test_a_table_comes_back():
    assert TensorTable.parse(TABLE.encode(), weights_bytes=WEIGHTS_BYTES) == TABLE


def test_element_sizes_are_those_of_the_names():
    assert {dtype.size for dtype in DType} == {1, 2, 4, 8}
    assert (DType.UINT8.size, DType.FLOAT16.size, DType.INT32.size) == (1, 2, 4)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "w/0"},
        {"name": "tab\t"},
        {"name": "n" * 1025},
        {"dtype": "float8"},
        {"dtype": 1},
        {"shape": [2001]},
        {"shape": [0]},
        {"shape": [-2000]},
        {"shape": [True, 2000]},
        {"shape": ["2000"]},
        {"shape": [1] * 16 + [2000]},
        {"shape": 2000},
        {"offset": 4095},
        {"offset": 8192},
        {"length": 1999},
        {"length": 0},
        {"more": 1},
    ],
    ids=str,
)
def test_every_field_of_a_tensor_is_checked(change: dict[str, json.Canonical]):
    value = json.decode(TABLE.encode(), what="table", max_bytes=4096)
    assert isinstance(value, dict)
    tensors = value["tensors"]
    assert isinstance(tensors, list)
    assert isinstance(tensors[1], dict)
    tensors[1] = {**tensors[1], **change}  # type: ignore[dict-item] # no floats here
    with pytest.raises(MalformedSealedModel) as error:
        TensorTable.parse(json.canonical(value), weights_bytes=WEIGHTS_BYTES)  # type: ignore[arg-type] # as above
    assert error.value.code is Code.MALFORMED_TENSOR_TABLE


def test_the_table_fills_the_weights_exactly():
    for weights_bytes in (0, WEIGHTS_BYTES - 1, WEIGHTS_BYTES + 1):
        with pytest.raises(MalformedSealedModel):
            TensorTable.parse(TABLE.encode(), weights_bytes=weights_bytes)


def test_anything_but_canonical_json_of_a_table_is_refused():
    for data in (b"", b"{}", b"[]", b'{"tensors":[],"v":1}', TABLE.encode() + b"\n", b"\xff"):
        with pytest.raises(MalformedSealedModel):
            TensorTable.parse(data, weights_bytes=WEIGHTS_BYTES)
