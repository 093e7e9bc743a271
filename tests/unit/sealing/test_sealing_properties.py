"""Parsers are total and not malleable: one documented error, or what re-encodes to itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes.sealed_models import Owner, content
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from sealward.sealing import hpke
from sealward.sealing.container import SealedModel
from sealward.sealing.core import Format
from sealward.sealing.errors import MalformedSealedModel, SealedModelError
from sealward.sealing.header import MAGIC, SealedHeader
from sealward.sealing.onnx_split import split
from sealward.sealing.signing import CreatorPrivateKey, CreatorPublicKey
from sealward.sealing.source import BytesSource, Source, read
from sealward.sealing.tensor_table import TensorTable
from sealward.sealing.workload_key import WorkloadKey
from sealward.sealing.wrap import WrapFile, unwrap_content_key, wrap_content_key

SESSION_FIXTURES = settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
OWNER = Owner.from_seed("properties")
SEALED = OWNER.seal(content(200), content(20), content(4500))
MODEL = SealedModel.open(BytesSource(SEALED))
REGISTRATION = MODEL.registration()
WRAP_FILE = WrapFile(
    core_digest=bytes(32),
    wrap=wrap_content_key(bytes(32), OWNER.workload.public, bytes(32)),
).encode()
TABLE = b'{"tensors":[{"dtype":"int8","length":2000,"name":"a","offset":0,"shape":[2000]}],"v":0}'
TOKENS = [b"0", b"-1", b"1e5", b"null", b"[]", b"{}", b'"', b",", b"\\u0000", b"9" * 30]


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes near the valid ones: flipped, cut, spliced, with numbers and text put in."""
    buffer = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(buffer) - 1, 0)))
        match draw(st.sampled_from(["flip", "cut", "insert", "copy", "text"])):
            case "flip" if buffer:
                buffer[at] ^= draw(st.integers(1, 255))
            case "cut":
                del buffer[at : at + draw(st.integers(1, 64))]
            case "insert":
                buffer[at:at] = draw(st.binary(max_size=16))
            case "copy":
                size = draw(st.integers(1, 64))
                other = draw(st.integers(0, len(buffer)))
                buffer[at:at] = buffer[other : other + size]
            case "text":
                tokens = [
                    b"0",
                    b"-1",
                    b"1e5",
                    b"null",
                    b"[]",
                    b"{}",
                    b'"',
                    b",",
                    b"\\u0000",
                    b"9" * 30,
                ]
                token = draw(st.sampled_from(tokens))
                buffer[at : at + len(token)] = token
            case _:
                pass
    return bytes(buffer)


def near(data: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(mutated(data), st.binary(max_size=200), st.just(data))


@SESSION_FIXTURES
@given(st.one_of(near(REGISTRATION), st.binary(max_size=200).map(lambda tail: MAGIC + tail)))
def test_headers(data: bytes) -> None:
    try:
        header = SealedHeader.parse(data)
    except MalformedSealedModel:
        return
    assert header.encode() == data


@SESSION_FIXTURES
@given(mutated(SEALED))
def test_files_open_as_they_were_sealed_or_not_at_all(data: bytes) -> None:
    """The whole procedure: any change is refused by some step, with our error."""
    try:
        model = SealedModel.open(BytesSource(data))
        model.verify_signatures(OWNER.creator.public)
        wrap = model.header.wrap_for(OWNER.workload.public.key_id)
        key = unwrap_content_key(wrap, OWNER.workload_private, model.core_digest)
        for part in model.parts:
            model.decrypt_part_into(key, part.name, memoryview(bytearray(part.length)))
    except SealedModelError:
        assert data != SEALED
        return
    assert data == SEALED


Parse = Callable[[bytes], object]
PARSERS: list[tuple[Parse, bytes]] = [
    (hpke.PublicKey.decode, OWNER.workload.public.encoded),
    (hpke.PrivateKey.decode, bytes(OWNER.workload_private.encode())),
    (CreatorPublicKey.decode, OWNER.creator.public.encoded),
    (CreatorPublicKey.parse_file, OWNER.creator.public.encode_file()),
    (CreatorPrivateKey.parse_file, OWNER.creator.encode_file()),
    (WorkloadKey.parse, OWNER.workload.encode()),
    (WrapFile.parse, WRAP_FILE),
    (lambda data: TensorTable.parse(data, weights_bytes=2000), TABLE),
]


@pytest.mark.parametrize(("parse", "valid"), PARSERS, ids=range(len(PARSERS)))
@settings(SESSION_FIXTURES, max_examples=100)
@given(data=st.data())
def test_every_other_parser_is_total(parse: Parse, valid: bytes, data: st.DataObject) -> None:
    assert parse(valid) is not None
    try:
        parse(data.draw(near(valid)))
    except MalformedSealedModel:
        return


def onnx_models() -> list[bytes]:
    """Return one model that is split and one that has external data."""
    large = TensorProto(name="w", data_type=TensorProto.INT8, dims=[1100], raw_data=bytes(1100))
    outside = TensorProto(
        name="e", data_type=TensorProto.INT8, dims=[1100], data_location=TensorProto.EXTERNAL
    )
    outside.external_data.add(key="location", value="w.bin")
    node = helper.make_node("Add", ["w", "e"], ["y"])
    opset = [helper.make_opsetid("", 17)]
    return [
        helper.make_model(
            helper.make_graph([node], "g", [], [], tensors), opset_imports=opset
        ).SerializeToString()
        for tensors in ([large], [large, outside])
    ]


MODELS = onnx_models()


@pytest.mark.parametrize("model", MODELS, ids=["one file", "external"])
@settings(SESSION_FIXTURES, max_examples=200)
@given(data=st.data())
def test_splitting_is_total(model: bytes, data: st.DataObject) -> None:
    """Protobuf accepts much; whatever it accepts is split, sealed whole or refused."""

    def open_external(location: str) -> Source:
        assert ".." not in location
        return BytesSource(bytes(1100))

    assert split(BytesSource(model), open_external).format is Format.ONNX_SPLIT
    try:
        plain = split(BytesSource(data.draw(near(model))), open_external)
    except SealedModelError:
        return
    for part in plain.parts:
        assert len(read(part, 0, part.size)) == part.size > 0
