"""Splitting loses no bit of a model, and reads no file that the model was not allowed to name."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from fakes.sealed_models import CREATED, Owner, content, sealed_bytes, seeded
from onnx import TensorProto, helper, numpy_helper

from sealward.sealing.container import SealedModel
from sealward.sealing.core import Format
from sealward.sealing.errors import Code, UnsealableModel
from sealward.sealing.onnx_split import MAX_EXTERNAL_FILES, split
from sealward.sealing.source import BytesSource, Source, read
from sealward.sealing.tensor_table import DType, Tensor, TensorTable
from sealward.sealing.wrap import unwrap_content_key
from sealward.sealing.writer import Description, PlainModel, seal
from sealward.verifier.wire import json

LARGE = np.arange(600, dtype=np.float32).reshape(20, 30)
SMALL = np.arange(10, dtype=np.float32)


def no_external(location: str) -> Source:
    raise AssertionError(f"must not be opened: {location}")


def model_of(*initializers: TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes or (helper.make_node("Identity", ["x"], ["y"]),),
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def source_of(model: onnx.ModelProto) -> BytesSource:
    return BytesSource(model.SerializeToString())


def external(name: str, array: np.ndarray, **entries: str) -> TensorProto:
    tensor = TensorProto(
        name=name,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        dims=array.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in {"location": "w.bin", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def part(plain: PlainModel, number: int) -> bytes:
    source = plain.parts[number]
    return read(source, 0, source.size)


def put_together(plain: PlainModel) -> dict[str, np.ndarray]:
    """Return every initialiser of the main graph, as an agent would lay them over the weights."""
    weights = part(plain, 0)
    table = TensorTable.parse(part(plain, 1), weights_bytes=len(weights))
    found = {
        tensor.name: np.frombuffer(
            weights, tensor.dtype.value, tensor.length // tensor.dtype.size, tensor.offset
        ).reshape(tensor.shape)
        for tensor in table.tensors
    }
    for tensor in onnx.ModelProto.FromString(part(plain, 2)).graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            found[tensor.name] = numpy_helper.to_array(tensor)
    return found


def refusal(model: Source, open_external: Callable[[str], Source] = no_external) -> Code:
    with pytest.raises(UnsealableModel) as error:
        split(model, open_external)
    return error.value.code


@pytest.fixture(scope="module")
def magika() -> bytes:
    """A real product's model. The package is found but not imported: it would start a runtime."""
    spec = importlib.util.find_spec("magika")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "models/standard_v3_3/model.onnx").read_bytes()


def test_a_real_model_is_split_sealed_and_opened_bit_for_bit(magika: bytes, owner: Owner):
    plain = split(BytesSource(magika), no_external)
    assert plain.format is Format.ONNX_SPLIT
    assert plain.plain_digest == hashlib.sha256(magika).digest()
    data = sealed_bytes(
        lambda descriptor: seal(
            plain,
            Description(model="magika", version=3, created=CREATED),
            workload_key=owner.workload,
            creator=owner.creator,
            descriptor=descriptor,
            random_bytes=seeded("magika"),
        )
    )
    model = SealedModel.open(BytesSource(data))
    model.verify_signatures(owner.creator.public)
    wrap = model.header.wrap_for(owner.workload.public.key_id)
    key = unwrap_content_key(wrap, owner.workload_private, model.core_digest)
    for number, stored in enumerate(model.parts):
        opened = bytearray(stored.length)
        model.decrypt_part_into(key, stored.name, memoryview(opened), threads=2)
        assert opened == part(plain, number)


def test_a_real_model_keeps_every_initialiser(magika: bytes):
    found = put_together(split(BytesSource(magika), no_external))
    expected = onnx.ModelProto.FromString(magika).graph.initializer
    assert len(expected) == len(found) > 30
    for tensor in expected:
        array = numpy_helper.to_array(tensor)
        assert found[tensor.name].dtype == array.dtype
        assert found[tensor.name].shape == array.shape
        assert found[tensor.name].tobytes() == array.tobytes()


def test_a_skeleton_with_its_tensors_back_is_the_model(magika: bytes):
    """Nothing else was touched: putting the data back gives the original message."""
    plain = split(BytesSource(magika), no_external)
    skeleton = onnx.ModelProto.FromString(part(plain, 2))
    found = put_together(plain)
    for tensor in skeleton.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            assert {entry.key: entry.value for entry in tensor.external_data}[
                "location"
            ] == "weights"
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = found[tensor.name].tobytes()
    assert skeleton == onnx.ModelProto.FromString(magika)


def test_only_large_initialisers_of_known_types_leave_the_skeleton():
    bfloat = TensorProto(
        name="bf", data_type=TensorProto.BFLOAT16, dims=[1000], raw_data=bytes(2000)
    )
    typed = helper.make_tensor("typed", TensorProto.INT32, [300], list(range(300)))
    constant = helper.make_node(
        "Constant", [], ["c"], value=numpy_helper.from_array(LARGE, "constant")
    )
    inner = model_of(numpy_helper.from_array(LARGE, "inner")).graph
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    model = model_of(
        numpy_helper.from_array(SMALL, "small"),
        typed,
        bfloat,
        numpy_helper.from_array(LARGE, "large"),
        nodes=(constant, branch),
    )
    plain = split(source_of(model), no_external)
    table = TensorTable.parse(part(plain, 1), weights_bytes=plain.parts[0].size)
    assert table.tensors == (
        Tensor(name="typed", dtype=DType.INT32, shape=(300,), offset=0, length=1200),
        Tensor(name="large", dtype=DType.FLOAT32, shape=(20, 30), offset=4096, length=2400),
    )
    weights = part(plain, 0)
    assert weights[:1200] == np.arange(300, dtype="<i4").tobytes()
    assert not any(weights[1200:4096])
    assert weights[4096:] == LARGE.tobytes()


def test_a_model_with_nothing_to_split_is_sealed_as_it_is():
    data = model_of(numpy_helper.from_array(SMALL, "small")).SerializeToString()
    plain = split(BytesSource(data), no_external)
    assert plain.format is Format.ONNX
    assert part(plain, 0) == data
    assert plain.external_digest is None


def test_weights_can_be_read_from_anywhere():
    """Every range, across tensors and the zeros between them."""
    model = model_of(numpy_helper.from_array(LARGE, "a"), numpy_helper.from_array(LARGE + 1, "b"))
    weights = split(source_of(model), no_external).parts[0]
    whole = read(weights, 0, weights.size)
    edges = sorted({0, 1, 2399, 2400, 2401, 4095, 4096, 4097, weights.size - 1, weights.size})
    for start in edges:
        for stop in edges:
            if start <= stop:
                assert read(weights, start, stop - start) == whole[start:stop]


def test_external_data_is_found_small_tensors_included():
    """Large ones are streamed, small and oddly typed ones come into the skeleton."""
    data = bytes(16) + LARGE.tobytes() + SMALL.tobytes() + content(2000)
    odd = TensorProto(
        name="odd", data_type=TensorProto.BFLOAT16, dims=[1000], data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", "w.bin"), ("offset", "2456"), ("length", "2000")):
        odd.external_data.add(key=key, value=value)
    model = model_of(
        external("large", LARGE, offset="16", length="2400"),
        external("small", SMALL, offset="2416"),
        odd,
    )
    opened: list[str] = []

    def open_external(location: str) -> Source:
        opened.append(location)
        return BytesSource(data)

    plain = split(source_of(model), open_external)
    found = put_together(plain)
    assert opened == ["w.bin"]
    assert found["large"].tobytes() == LARGE.tobytes()
    assert found["small"].tobytes() == SMALL.tobytes()
    assert found["odd"].tobytes() == content(2000)
    listed = [{"location": "w.bin", "sha256": hashlib.sha256(data).hexdigest()}]
    assert plain.external_digest == hashlib.sha256(json.canonical(listed)).digest()


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/etc/passwd",
        "../w.bin",
        "a/../../w.bin",
        "a/..",
        ".",
        "..\\w.bin",
        "C:w.bin",
        "file:w.bin",
        "w\x00.bin",
        "w\n.bin",
        "*/_ORT_MEM_ADDR_/*",
    ],
)
def test_hostile_locations_are_refused_unopened(location: str):
    model = model_of(external("large", LARGE, location=location))
    assert refusal(source_of(model)) is Code.HOSTILE_EXTERNAL_PATH


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "-1"},
        {"offset": "1"},
        {"offset": "9" * 30},
        {"offset": "0x10"},
        {"offset": "\u0661"},
        {"length": "2399"},
        {"length": "2401"},
        {"length": ""},
    ],
    ids=str,
)
def test_external_ranges_stay_within_their_file(entries: dict[str, str]):
    model = model_of(external("large", LARGE, **entries))
    code = refusal(source_of(model), lambda _: BytesSource(LARGE.tobytes()))
    assert code is Code.UNSUPPORTED_MODEL


def test_external_data_that_would_not_be_sealed_is_refused():
    """In a subgraph, a Constant node, a function: the sealed skeleton would point outside."""
    inner = model_of(external("inner", LARGE)).graph
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.append(helper.make_attribute("value", external("value", LARGE)))
    function = helper.make_function(
        "local", "f", [], ["c"], [constant], [helper.make_opsetid("", 17)]
    )
    with_function = model_of(numpy_helper.from_array(LARGE, "large"))
    with_function.functions.append(function)
    sparse = model_of(numpy_helper.from_array(LARGE, "large"))
    sparse.graph.sparse_initializer.add().values.CopyFrom(external("values", LARGE))
    for model in (
        model_of(nodes=(branch,)),
        model_of(nodes=(constant,)),
        model_of(numpy_helper.from_array(LARGE, "large"), nodes=(branch,)),
        with_function,
        sparse,
    ):
        assert refusal(source_of(model)) is Code.UNSUPPORTED_MODEL


def test_tensors_that_contradict_themselves_are_refused():
    short = numpy_helper.from_array(LARGE, "short")
    short.raw_data = short.raw_data[:-1]
    few = helper.make_tensor("few", TensorProto.FLOAT, [300], [0.0] * 300)
    few.dims[0] = 301
    negative = numpy_helper.from_array(LARGE, "negative")
    negative.dims[0] = -20
    ranks = numpy_helper.from_array(LARGE, "ranks")
    ranks.dims.extend([1] * 15)
    huge = numpy_helper.from_array(LARGE, "huge")
    huge.dims[0] = 1 << 60
    for tensor in (short, few, negative, ranks, huge):
        assert refusal(source_of(model_of(tensor))) is Code.UNSUPPORTED_MODEL
    twice = (numpy_helper.from_array(LARGE, "twin"), numpy_helper.from_array(SMALL, "twin"))
    assert refusal(source_of(model_of(*twice))) is Code.UNSUPPORTED_MODEL
    assert refusal(source_of(model_of(external("only", SMALL))), lambda _: BytesSource(SMALL)) is (
        Code.UNSUPPORTED_MODEL
    )


@pytest.mark.parametrize("name", ["two\nlines", "n" * 1025])
def test_names_that_no_tensor_table_can_carry_are_refused(name: str):
    model = model_of(numpy_helper.from_array(LARGE, name))
    assert refusal(source_of(model)) is Code.UNSUPPORTED_MODEL


def test_more_external_files_than_the_budget_are_refused():
    tensors = [
        external(f"t{number}", SMALL, location=f"f{number}")
        for number in range(MAX_EXTERNAL_FILES + 1)
    ]
    code = refusal(source_of(model_of(*tensors)), lambda _: BytesSource(SMALL.tobytes()))
    assert code is Code.UNSUPPORTED_MODEL


def test_what_is_not_an_onnx_model_is_refused(magika: bytes):
    empty = onnx.ModelProto(ir_version=9)
    for data in (b"", b"{}", b"\x00" * 100, content(5000), magika[:-1], magika[:1000]):
        assert refusal(BytesSource(data)) is Code.NOT_A_MODEL
    assert refusal(source_of(empty)) is Code.NOT_A_MODEL
