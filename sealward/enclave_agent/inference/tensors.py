"""Tensors of the Open Inference Protocol (KServe V2) and their two encodings.

A `Tensor` holds the protocol's *binary* form: little-endian, row-major, BYTES as u32 length and
bytes for each element. The JSON form exists only at the HTTP edge. Both readers are total: they
return a tensor or raise InvalidRequest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum, unique
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, assert_never

import numpy as np

from sealward.enclave_agent.inference.errors import Fault, InvalidRequest
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealward.verifier.wire.json import Value

MAX_RANK: Final = 16  # onnxruntime's own kernels stop near 8
MAX_ELEMENTS: Final = 1 << 26  # 64 Mi: a 256 MiB FP32 tensor, beyond any body budget
MAX_NAME: Final = 1024  # as in a sealed model's tensor table; exporters make a few hundred


@unique
class Datatype(StrEnum):
    """Element types that both the protocol and ONNX on CPU can carry (no BF16 in numpy)."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


_DTYPES: Final = MappingProxyType(
    {
        Datatype.BOOL: np.dtype("?"),
        Datatype.UINT8: np.dtype("u1"),
        Datatype.UINT16: np.dtype("<u2"),
        Datatype.UINT32: np.dtype("<u4"),
        Datatype.UINT64: np.dtype("<u8"),
        Datatype.INT8: np.dtype("i1"),
        Datatype.INT16: np.dtype("<i2"),
        Datatype.INT32: np.dtype("<i4"),
        Datatype.INT64: np.dtype("<i8"),
        Datatype.FP16: np.dtype("<f2"),
        Datatype.FP32: np.dtype("<f4"),
        Datatype.FP64: np.dtype("<f8"),
    }
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One named tensor in binary form, always consistent when made by this module's readers.

    Attributes:
        name: the model's name for it.
        datatype: element type.
        shape: dimensions; () is a scalar.
        data: `len(elements) * itemsize` bytes, or the BYTES encoding. Prompts and answers lie
            here, so it is never in a repr.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    data: bytes = field(repr=False)


def dtype_of(datatype: Datatype) -> np.dtype[np.generic]:
    """Return the little-endian numpy type; BYTES are Python objects to numpy."""
    return np.dtype(object) if datatype is Datatype.BYTES else _DTYPES[datatype]


def read_datatype(value: Value, what: str) -> Datatype:
    """Read a protocol datatype name."""
    if isinstance(value, str) and value in Datatype.__members__:
        return Datatype(value)
    raise InvalidRequest(
        Fault.INVALID_TENSOR, f"{what}: datatype is not one of {', '.join(Datatype)}"
    )


def read_shape(value: Value, what: str, *, least: int) -> tuple[int, ...]:
    """Read a shape: integers of at least `least`, within the budgets of rank and elements.

    Inputs have no empty dimension (kernels have divided by them); outputs may, as a detector
    that found nothing answers so.
    """
    if not isinstance(value, list) or len(value) > MAX_RANK:
        raise _bad(what, f"shape is not a list of at most {MAX_RANK} dimensions")
    shape = tuple(dim for dim in value if isinstance(dim, int) and not isinstance(dim, bool))
    if len(shape) != len(value) or any(dim < least for dim in shape):
        raise _bad(what, f"a dimension is an integer of at least {least}")
    if math.prod(shape) > MAX_ELEMENTS:
        raise _bad(what, f"more than {MAX_ELEMENTS} elements")
    return shape


def from_binary(name: str, datatype: Datatype, shape: tuple[int, ...], data: bytes) -> Tensor:
    """Check raw bytes against their declaration.

    NaN and infinities pass: they are values of the type, and models are defined on them.

    Raises:
        InvalidRequest: wrong length, a BOOL that is neither 0 nor 1, or broken BYTES framing.
    """
    count = math.prod(shape)
    if datatype is Datatype.BYTES:
        split_bytes(data, count, name)
    elif len(data) != count * _DTYPES[datatype].itemsize:
        expected = count * _DTYPES[datatype].itemsize
        raise _bad(name, f"{datatype} {list(shape)} is {expected} bytes, {len(data)} were sent")
    elif datatype is Datatype.BOOL and data.translate(None, b"\x00\x01"):
        raise _bad(name, "a BOOL is the byte 0 or 1")
    return Tensor(name, datatype, shape, data)


def from_json(name: str, datatype: Datatype, shape: tuple[int, ...], data: Value) -> Tensor:
    """Read the `data` member: a flat list, or lists nested as `shape` says.

    Raises:
        InvalidRequest: wrong nesting or count, an element of another type or out of range.
    """
    flat = _flatten(data, shape, name)
    if len(flat) != math.prod(shape):
        raise _bad(name, f"shape {list(shape)} has {math.prod(shape)} elements, not {len(flat)}")
    return Tensor(name, datatype, shape, _pack(name, datatype, flat))


def to_json(tensor: Tensor) -> list[Value]:
    """Return the elements as a flat list whose JSON text gives the very same values back.

    Raises:
        InvalidRequest: NaN, infinity, FP16 or BYTES outside UTF-8, which JSON cannot carry.
    """
    if tensor.datatype is Datatype.BYTES:
        parts = split_bytes(tensor.data, math.prod(tensor.shape), tensor.name)
        try:
            return [part.decode("utf-8") for part in parts]
        except UnicodeDecodeError:
            raise _unprintable(tensor.name, "BYTES that are not UTF-8") from None
    if tensor.datatype is Datatype.FP16:
        raise _unprintable(tensor.name, "FP16")
    array = np.frombuffer(tensor.data, _DTYPES[tensor.datatype])
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _unprintable(tensor.name, "NaN or infinity")
    values: list[Value] = array.tolist()
    return values


def split_bytes(data: bytes, count: int, what: str) -> tuple[bytes, ...]:
    """Take `count` BYTES elements apart: u32 little-endian length, then as many bytes, each."""
    reader = Reader(data)
    try:
        parts = tuple(reader.take(reader.le(4, what), what) for _ in range(count))
        reader.finish()
    except MalformedEvidence as error:
        raise _bad(what, f"BYTES framing: {error.detail}") from None
    return parts


def join_bytes(parts: Sequence[bytes]) -> bytes:
    """Return the BYTES encoding of `parts`, each shorter than 4 GiB."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def _flatten(data: Value, shape: tuple[int, ...], name: str) -> list[Value]:
    if not isinstance(data, list):
        raise _bad(name, "data is not a list")
    if not any(isinstance(item, list) for item in data):
        return data
    level: list[Value] = data
    for size, inner in pairwise(shape):
        rows = [item for item in level if isinstance(item, list)]
        if len(rows) != len(level) or any(len(row) != inner for row in rows):
            raise _bad(name, f"data is not nested as shape {list(shape)}")
        if level is data and len(level) != size:
            raise _bad(name, f"data is not nested as shape {list(shape)}")
        level = [item for row in rows for item in row]
    return level


def _pack(name: str, datatype: Datatype, flat: list[Value]) -> bytes:
    match datatype:
        case Datatype.BYTES:
            texts = [item for item in flat if isinstance(item, str)]
            if len(texts) != len(flat):
                raise _bad(name, "BYTES elements are strings")
            return join_bytes([text.encode("utf-8") for text in texts])
        case Datatype.BOOL:
            if not all(item is True or item is False for item in flat):
                raise _bad(name, "BOOL elements are true or false")
            return bytes(item is True for item in flat)
        case Datatype.FP32 | Datatype.FP64:
            return _pack_floats(name, datatype, flat)
        case Datatype.FP16:
            raise InvalidRequest(
                Fault.UNSUPPORTED, f"input '{name}': FP16 has no JSON form; send it as binary data"
            )
        case (
            Datatype.UINT8
            | Datatype.UINT16
            | Datatype.UINT32
            | Datatype.UINT64
            | Datatype.INT8
            | Datatype.INT16
            | Datatype.INT32
            | Datatype.INT64
        ):
            return _pack_integers(name, datatype, flat)
        case _:
            assert_never(datatype)


def _pack_integers(name: str, datatype: Datatype, flat: list[Value]) -> bytes:
    # `type(...) is int` because True is an int to isinstance, and 1.0 is not one to the protocol.
    integers = [item for item in flat if type(item) is int]
    if len(integers) != len(flat):
        raise _bad(name, f"{datatype} elements are integers")
    limits = np.iinfo(_DTYPES[datatype].name)
    if integers and not limits.min <= min(integers) <= max(integers) <= limits.max:
        raise _bad(name, f"an element is outside {datatype}")
    return np.array(integers, dtype=_DTYPES[datatype]).tobytes()


def _pack_floats(name: str, datatype: Datatype, flat: list[Value]) -> bytes:
    numbers = [float(item) for item in flat if type(item) is int or type(item) is float]
    if len(numbers) != len(flat):
        raise _bad(name, f"{datatype} elements are numbers")
    with np.errstate(over="ignore"):
        array = np.array(numbers, dtype=np.float64).astype(_DTYPES[datatype])
    if not np.isfinite(array).all():
        raise _bad(name, f"an element is outside {datatype}")
    return array.tobytes()


def _bad(name: str, problem: str) -> InvalidRequest:
    return InvalidRequest(Fault.INVALID_TENSOR, f"tensor '{name}': {problem}")


def _unprintable(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(
        Fault.NOT_REPRESENTABLE,
        f"output '{name}' holds {what}, which JSON cannot carry; ask for it as binary data",
    )
