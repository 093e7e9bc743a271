"""The table of a split model: which tensor lies where in its weights (section 4.4).

Canonical JSON in the sealed part `tensors`, so that an agent can lay tensors over its own memory
without parsing ONNX.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum, unique
from string import ascii_lowercase
from typing import Final, Self

from sealward.sealing.core import MAX_TOTAL_BYTES
from sealward.sealing.errors import Code, MalformedSealedModel
from sealward.sealing.fields import Fields, Value, decode_canonical
from sealward.verifier.wire import json

ALIGNMENT: Final = 4096  # a page: tensors can be protected and advised one by one
MAX_TABLE_BYTES: Final = 1 << 24  # 100,000 tensors with long names
MAX_TENSORS: Final = 1 << 17
MAX_RANK: Final = 16
LOCATION: Final = "weights"  # the external-data location that the skeleton names

_NAME: Final = re.compile(r"[^\x00-\x1f]{1,1024}", re.DOTALL)
_NAMES: Final = ("dtype", "length", "name", "offset", "shape")


@unique
class DType(StrEnum):
    """Element types that are split out, by their numpy names; little-endian."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"

    @property
    def size(self) -> int:
        """Length of one element in bytes."""
        return int(self.value.lstrip(ascii_lowercase)) // 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One initialiser.

    Attributes:
        name: as the skeleton names it.
        dtype: of its elements.
        shape: dimensions, all at least 1.
        offset: in the weights, a multiple of ALIGNMENT.
        length: in bytes, exactly shape times element.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int
    length: int

    @property
    def end(self) -> int:
        """First byte after the tensor."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class TensorTable:
    """All tensors of the weights, in the order in which they lie there."""

    tensors: tuple[Tensor, ...]

    @classmethod
    def parse(cls, data: bytes, *, weights_bytes: int) -> Self:
        """Read the part `tensors` of a sealed model whose part `weights` is `weights_bytes` long.

        Raises:
            MalformedSealedModel: MALFORMED_TENSOR_TABLE or NOT_CANONICAL.
        """
        value = decode_canonical(
            data, what="tensor table", max_bytes=MAX_TABLE_BYTES, code=Code.MALFORMED_TENSOR_TABLE
        )
        fields = Fields(
            value, ("tensors", "v"), what="tensor table", code=Code.MALFORMED_TENSOR_TABLE
        )
        fields.fixed("v", 0)
        tensors: list[Tensor] = []
        end = 0
        for item in fields.array("tensors", most=MAX_TENSORS):
            tensors.append(_tensor(item, aligned(end)))
            end = tensors[-1].end
        if end != weights_bytes or len({tensor.name for tensor in tensors}) != len(tensors):
            raise _refused("tensors must have distinct names and fill the weights")
        return cls(tuple(tensors))

    def encode(self) -> bytes:
        """Return the canonical bytes that `parse` reads."""
        return json.canonical(
            {
                "v": 0,
                "tensors": [
                    {
                        "name": tensor.name,
                        "dtype": str(tensor.dtype),
                        "shape": list(tensor.shape),
                        "offset": tensor.offset,
                        "length": tensor.length,
                    }
                    for tensor in self.tensors
                ],
            }
        )


def aligned(offset: int) -> int:
    """Return the next multiple of ALIGNMENT."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _tensor(item: Value, offset: int) -> Tensor:
    fields = Fields(item, _NAMES, what="tensor", code=Code.MALFORMED_TENSOR_TABLE)
    fields.fixed("offset", offset)
    dtype = fields.choice("dtype", DType)
    shape: list[int] = []
    for size in fields.array("shape", most=MAX_RANK):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise _refused("shape must be integers of at least 1")
        shape.append(size)
    length = fields.integer("length", least=1, most=MAX_TOTAL_BYTES)
    if math.prod(shape) * dtype.size != length:
        raise _refused("length must be that of shape and dtype")
    return Tensor(
        name=fields.text("name", _NAME),
        dtype=dtype,
        shape=tuple(shape),
        offset=offset,
        length=length,
    )


def _refused(detail: str) -> MalformedSealedModel:
    return MalformedSealedModel(Code.MALFORMED_TENSOR_TABLE, detail)
