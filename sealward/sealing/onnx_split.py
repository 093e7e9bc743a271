"""Cutting an ONNX model into skeleton, weights and tensor table (section 4.4).

Initialisers of the main graph of at least MIN_TENSOR_BYTES go to the weights; smaller ones,
Constant nodes and whatever sits in subgraphs stay in the skeleton. A model with nothing to cut is
sealed whole, byte for byte.

External data is read through a callback with locations checked here, so a model cannot make its
sealer read a file outside the model's folder. The only module that imports onnx; it never imports a
runtime. A model in one file costs about three times its size in memory here, protobuf being what it
is; external data is streamed.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import Final

import onnx
from google.protobuf.message import DecodeError, EncodeError, Message
from onnx import TensorProto, numpy_helper

from sealward.sealing.core import Format
from sealward.sealing.errors import Code, MalformedSealedModel, UnsealableModel
from sealward.sealing.source import BytesSource, Source, read
from sealward.sealing.tensor_table import (
    LOCATION,
    MAX_RANK,
    MAX_TENSORS,
    DType,
    Tensor,
    TensorTable,
    aligned,
)
from sealward.sealing.writer import MAX_MODEL_BYTES, PlainModel
from sealward.verifier.wire import json

MIN_TENSOR_BYTES: Final = (
    1024  # below, a table entry and a page of alignment cost more than they give
)
MAX_FILE_BYTES: Final = (1 << 31) - 1  # protobuf's own limit for one message
MAX_INLINED_BYTES: Final = 1 << 30  # external tensors that must live in the skeleton
MAX_EXTERNAL_FILES: Final = 4096
_HASH_PIECE: Final = 1 << 20

_DTYPES: Final[dict[int, DType]] = {
    TensorProto.FLOAT16: DType.FLOAT16,
    TensorProto.FLOAT: DType.FLOAT32,
    TensorProto.DOUBLE: DType.FLOAT64,
    TensorProto.INT8: DType.INT8,
    TensorProto.INT16: DType.INT16,
    TensorProto.INT32: DType.INT32,
    TensorProto.INT64: DType.INT64,
    TensorProto.UINT8: DType.UINT8,
    TensorProto.UINT16: DType.UINT16,
    TensorProto.UINT32: DType.UINT32,
    TensorProto.UINT64: DType.UINT64,
}

OpenExternal = Callable[[str], Source]


def split(model: Source, open_external: OpenExternal) -> PlainModel:
    """Cut a model for sealing.

    Args:
        model: the ONNX file.
        open_external: returns the external-data file at a location relative to the model's folder;
            called once for each location, after its form has been checked. The callback refuses
            what leaves the folder through a link.

    Raises:
        UnsealableModel: NOT_A_MODEL, UNSUPPORTED_MODEL or HOSTILE_EXTERNAL_PATH.
        SealedModelError: what a source or the callback raises.
    """
    if not 0 < model.size <= MAX_FILE_BYTES:
        raise UnsealableModel(Code.NOT_A_MODEL, f"an ONNX file has 1 to {MAX_FILE_BYTES} bytes")
    proto, plain_digest = _load(model)
    external = _External(open_external)
    pieces, table = _cut(proto.graph, external)
    _refuse_other_external_data(proto)
    if not table.tensors and not external.files:
        return PlainModel(
            format=Format.ONNX, parts=(model,), plain_digest=plain_digest, external_digest=None
        )
    if not table.tensors:
        raise UnsealableModel(
            Code.UNSUPPORTED_MODEL,
            "its external data holds nothing that can be split out",
            hint="save it as one file",
        )
    return PlainModel(
        format=Format.ONNX_SPLIT,
        parts=(
            _Weights(pieces, table),
            BytesSource(_encoded(table)),
            BytesSource(_serialised(proto)),
        ),
        plain_digest=plain_digest,
        external_digest=external.digest(),
    )


class _External:
    """External-data files, each opened and hashed once."""

    def __init__(self, open_external: OpenExternal) -> None:
        self._open = open_external
        self.files: dict[str, Source] = {}

    def tensor(self, tensor: TensorProto, length: int) -> tuple[Source, int]:
        """Return the file of a tensor and where in it the tensor's `length` bytes begin."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        offset = _decimal(entries.get("offset", "0"))
        if _decimal(entries.get("length", str(length))) != length:
            raise _unsupported(tensor, "its external length is not that of its shape and type")
        source = self._file(location)
        if offset + length > source.size:
            raise _unsupported(tensor, "it ends beyond its external file")
        return source, offset

    def digest(self) -> bytes | None:
        """Return SHA-256 over the canonical list of locations and file digests, or None."""
        if not self.files:
            return None
        listed = [
            {"location": location, "sha256": _sha256(source).hex()}
            for location, source in sorted(self.files.items())
        ]
        return hashlib.sha256(json.canonical(listed)).digest()

    def _file(self, location: str) -> Source:
        name = _checked_location(location)
        if name not in self.files:
            if len(self.files) == MAX_EXTERNAL_FILES:
                raise UnsealableModel(
                    Code.UNSUPPORTED_MODEL, f"more than {MAX_EXTERNAL_FILES} external files"
                )
            self.files[name] = self._open(name)
        return self.files[name]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Where the bytes of a tensor come from."""

    source: Source
    offset: int


class _Weights:
    """Tensors at their places with zeros between them, as one source."""

    def __init__(self, pieces: tuple[_Piece, ...], table: TensorTable) -> None:
        self._pieces = pieces
        self._tensors = table.tensors
        self._starts = [tensor.offset for tensor in table.tensors]

    @property
    def size(self) -> int:
        """End of the last tensor."""
        return self._tensors[-1].end

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill all of `buffer` from `offset`; see `Source.read_into`."""
        while buffer:
            number = bisect_right(self._starts, offset) - 1
            tensor, piece = self._tensors[number], self._pieces[number]
            if offset < tensor.end:
                size = min(len(buffer), tensor.end - offset)
                piece.source.read_into(piece.offset + offset - tensor.offset, buffer[:size])
            else:
                size = min(len(buffer), aligned(tensor.end) - offset)
                buffer[:size] = bytes(size)
            buffer = buffer[size:]
            offset += size


def _load(model: Source) -> tuple[onnx.ModelProto, bytes]:
    data = read(model, 0, model.size)
    try:
        proto = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise UnsealableModel(Code.NOT_A_MODEL, "not an ONNX file") from None
    # Protobuf accepts many other things: an empty message is a valid, meaningless model.
    if not proto.opset_import or not proto.graph.node:
        raise UnsealableModel(Code.NOT_A_MODEL, "not an ONNX model: no operator set or no node")
    return proto, hashlib.sha256(data).digest()


def _cut(graph: onnx.GraphProto, external: _External) -> tuple[tuple[_Piece, ...], TensorTable]:
    pieces: list[_Piece] = []
    tensors: list[Tensor] = []
    names: set[str] = set()
    inlined = 0
    for proto in graph.initializer:
        if not proto.name or proto.name in names:
            raise _unsupported(proto, "initialisers must have distinct names")
        names.add(proto.name)
        dtype = _DTYPES.get(proto.data_type)
        length = 0 if dtype is None else _length(proto, dtype)
        if dtype is not None and length >= MIN_TENSOR_BYTES:
            start = aligned(tensors[-1].end) if tensors else 0
            pieces.append(_take(proto, length, external))
            tensors.append(
                Tensor(
                    name=proto.name,
                    dtype=dtype,
                    shape=tuple(proto.dims),
                    offset=start,
                    length=length,
                )
            )
            _point(proto, tensors[-1])
        elif proto.data_location == TensorProto.EXTERNAL:
            inlined += _inline(proto, external, MAX_INLINED_BYTES - inlined)
    if len(tensors) > MAX_TENSORS or (tensors and tensors[-1].end > MAX_MODEL_BYTES):
        raise UnsealableModel(Code.UNSUPPORTED_MODEL, "too many or too large tensors")
    return tuple(pieces), TensorTable(tuple(tensors))


def _length(proto: TensorProto, dtype: DType) -> int:
    if len(proto.dims) > MAX_RANK or any(size < 0 for size in proto.dims):
        raise _unsupported(proto, "its shape is impossible")
    return math.prod(proto.dims) * dtype.size


def _take(proto: TensorProto, length: int, external: _External) -> _Piece:
    if proto.data_location == TensorProto.EXTERNAL:
        return _Piece(*external.tensor(proto, length))
    data = proto.raw_data if proto.HasField("raw_data") else _typed_bytes(proto)
    if len(data) != length:
        raise _unsupported(proto, "its data is not as long as its shape and type say")
    return _Piece(BytesSource(data), 0)


def _typed_bytes(proto: TensorProto) -> bytes:
    try:
        array = numpy_helper.to_array(proto)
    except (ValueError, TypeError, OverflowError):
        raise _unsupported(proto, "its data does not fit its shape and type") from None
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _point(proto: TensorProto, tensor: Tensor) -> None:
    """Leave a reference to the weights in place of the data."""
    proto.Clear()
    proto.name = tensor.name
    proto.data_type = next(code for code, dtype in _DTYPES.items() if dtype is tensor.dtype)
    proto.dims.extend(tensor.shape)
    proto.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", LOCATION),
        ("offset", str(tensor.offset)),
        ("length", str(tensor.length)),
    ):
        proto.external_data.add(key=key, value=value)


def _inline(proto: TensorProto, external: _External, budget: int) -> int:
    """Bring a small or oddly typed external tensor into the skeleton; return its length."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    dtype = _DTYPES.get(proto.data_type)
    length = _decimal(entries.get("length", "")) if dtype is None else _length(proto, dtype)
    if length > budget:
        raise _unsupported(
            proto, "it has to stay in the skeleton, which it would make larger than 1 GiB"
        )
    source, offset = external.tensor(proto, length)
    proto.ClearField("external_data")
    proto.ClearField("data_location")
    proto.raw_data = read(source, offset, length)
    return length


def _refuse_other_external_data(proto: onnx.ModelProto) -> None:
    """Refuse external data outside the main graph's initialisers: it would not be sealed."""
    elsewhere = chain(_tensors(proto, "graph"), _tensors(proto.graph, "initializer"))
    for tensor in elsewhere:
        if tensor.data_location == TensorProto.EXTERNAL:
            raise UnsealableModel(
                Code.UNSUPPORTED_MODEL,
                f"tensor {tensor.name[:80]!r} inside a node or subgraph has external data",
                hint="save the model as one file, or move the tensor to the main graph",
            )


def _tensors(message: Message, leave_out: str = "") -> Iterator[TensorProto]:
    """Yield every tensor below `message`, except in its own field `leave_out`."""
    for field, value in message.ListFields():
        if field.message_type is None or field.name == leave_out:
            continue
        for item in value if field.is_repeated else (value,):
            if isinstance(item, TensorProto):
                yield item
            else:
                yield from _tensors(item)


def _encoded(table: TensorTable) -> bytes:
    """Refuse here what a reader would refuse later: names out of bounds, a table out of bounds."""
    data = table.encode()
    try:
        TensorTable.parse(data, weights_bytes=table.tensors[-1].end)
    except MalformedSealedModel as error:
        raise UnsealableModel(Code.UNSUPPORTED_MODEL, error.detail) from None
    return data


def _serialised(proto: onnx.ModelProto) -> bytes:
    try:
        return proto.SerializeToString(deterministic=True)
    except (EncodeError, ValueError):
        raise UnsealableModel(Code.UNSUPPORTED_MODEL, "its skeleton is larger than 2 GiB") from None


def _checked_location(location: str) -> str:
    """Return a location in its plain form, or refuse what is not simply below the folder."""
    path = PurePosixPath(location)
    if (
        not location
        or not location.isprintable()
        or path.is_absolute()
        or ".." in path.parts
        or not path.parts
        or any(character in location for character in "\\:*")  # other systems, ORT's own markers
    ):
        raise UnsealableModel(
            Code.HOSTILE_EXTERNAL_PATH,
            f"external data at {location[:80]!r} is not simply below the model's folder",
        )
    return str(path)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_MODEL_BYTES)) + 1):
        raise UnsealableModel(
            Code.UNSUPPORTED_MODEL, "an external offset or length is not a decimal number"
        )
    return int(text)


def _sha256(source: Source) -> bytes:
    digest = hashlib.sha256()
    buffer = bytearray(min(_HASH_PIECE, source.size))
    for offset in range(0, source.size, _HASH_PIECE):
        with memoryview(buffer)[: min(_HASH_PIECE, source.size - offset)] as piece:
            source.read_into(offset, piece)
            digest.update(piece)
    return digest.digest()


def _unsupported(proto: TensorProto, fault: str) -> UnsealableModel:
    return UnsealableModel(Code.UNSUPPORTED_MODEL, f"initialiser {proto.name[:80]!r}: {fault}")
