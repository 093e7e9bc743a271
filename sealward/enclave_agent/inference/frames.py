"""The socketpair between agent and worker: length-prefixed frames, and the headers in them.

    frame = u32 header length | u64 body length | header (canonical JSON) | body     (big-endian)

The body is the raw data of the tensors that the header lists, in that order. Both sides read with
the same strict code and the same budgets: the worker runs a large C++ library over outside bytes,
so the agent trusts its frames no more than the worker trusts the agent's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.inference.errors import InvalidRequest
from sealward.enclave_agent.inference.tensors import (
    MAX_ELEMENTS,
    MAX_NAME,
    MAX_RANK,
    Datatype,
    Tensor,
    from_binary,
    read_shape,
)
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sealward.verifier.wire.json import Canonical, Value

PREFIX_BYTES: Final = 12
MAX_HEADER: Final = 32 << 20  # a load order with the largest tensor table of a sealed model
MAX_BODY: Final = 256 << 20  # outputs may be larger than the 64 MiB that a request may be
MAX_TENSORS: Final = 256  # inputs or outputs of one model; transformers with a KV cache have ~130


class MalformedFrame(Exception):
    """The other side sent bytes outside this protocol; the connection is of no further use."""


@unique
class Kind(StrEnum):
    """What a frame says."""

    LOAD = "load"
    LOADED = "loaded"
    INFER = "infer"
    RESULT = "result"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its kind, its other header members and its body."""

    kind: Kind
    members: dict[str, Value] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


def encode(kind: Kind, members: dict[str, Canonical], body: Sequence[bytes] = ()) -> list[bytes]:
    """Return the pieces of a frame, for one gathered write."""
    header = json.canonical({"kind": kind.value, **members})
    length = sum(len(piece) for piece in body)
    prefix = len(header).to_bytes(4, "big") + length.to_bytes(8, "big")
    return [prefix + header, *body]


def read_prefix(prefix: bytes) -> tuple[int, int]:
    """Return (header length, body length), both within their budgets.

    Raises:
        MalformedFrame: wrong size of prefix, or a length beyond its budget.
    """
    reader = Reader(prefix)
    try:
        header, body = reader.be(4, "header length"), reader.be(8, "body length")
        reader.finish()
    except MalformedEvidence as error:
        raise MalformedFrame(error.detail) from None
    if header > MAX_HEADER or body > MAX_BODY:
        raise MalformedFrame(f"a frame of {header} + {body} bytes is beyond the budget")
    return header, body


def read_header(header: bytes, body: bytes) -> Frame:
    """Read the header; canonical form is required, so one frame has one encoding.

    Raises:
        MalformedFrame: not canonical JSON of an object with a known `kind`.
    """
    try:
        value = json.decode(header, what="frame header", max_bytes=MAX_HEADER, max_depth=6)
        if not isinstance(value, dict) or json.canonical(_without_floats(value)) != header:
            raise MalformedFrame("frame header is not a canonical JSON object")
    except MalformedEvidence as error:
        raise MalformedFrame(error.detail) from None
    except (TypeError, ValueError):
        raise MalformedFrame("frame header is not canonical JSON") from None
    kind = value.pop("kind", None)
    if kind not in tuple(Kind):
        raise MalformedFrame("frame of unknown kind")
    return Frame(Kind(text(kind, "kind")), value, body)


def read(take: Callable[[int], bytes]) -> Frame:
    """Read one frame with `take(n)`, which returns exactly n bytes or raises.

    Raises:
        MalformedFrame: the bytes are not a frame.
    """
    header_bytes, body_bytes = read_prefix(take(PREFIX_BYTES))
    header = take(header_bytes)
    return read_header(header, take(body_bytes))


def describe(tensors: Sequence[Tensor]) -> list[Canonical]:
    """Return the header list of tensors whose data, in this order, is the body."""
    return [
        {
            "name": tensor.name,
            "datatype": tensor.datatype.value,
            "shape": list(tensor.shape),
            "size": len(tensor.data),
        }
        for tensor in tensors
    ]


def fits(tensors: Sequence[Tensor]) -> bool:
    """Return whether a frame can carry these tensors; a sender asks before it sends."""
    return (
        len(tensors) <= MAX_TENSORS
        and sum(len(tensor.data) for tensor in tensors) <= MAX_BODY
        and all(
            len(tensor.shape) <= MAX_RANK and math.prod(tensor.shape) <= MAX_ELEMENTS
            for tensor in tensors
        )
    )


def tensors(frame: Frame) -> tuple[Tensor, ...]:
    """Read the tensors that `frame.members["tensors"]` lists from the body.

    Raises:
        MalformedFrame: list and body disagree, or a tensor is not what it says.
    """
    listed = frame.members.get("tensors")
    if not isinstance(listed, list) or len(listed) > MAX_TENSORS:
        raise MalformedFrame(f"`tensors` is not a list of at most {MAX_TENSORS}")
    reader = Reader(frame.body)
    try:
        found = tuple(_tensor(entry, reader) for entry in listed)
        reader.finish()
    except MalformedEvidence as error:
        raise MalformedFrame(error.detail) from None
    except InvalidRequest as error:
        raise MalformedFrame(str(error)) from None
    if len({tensor.name for tensor in found}) != len(found):
        raise MalformedFrame("two tensors of one name")
    return found


def text(value: Value, what: str, max_length: int = MAX_NAME) -> str:
    """Read a member that is text.

    Raises:
        MalformedFrame: it is not, or too long.
    """
    if not isinstance(value, str) or len(value) > max_length:
        raise MalformedFrame(f"{what} is not text of at most {max_length} characters")
    return value


def integer(value: Value, what: str) -> int:
    """Read a member that is a non-negative integer.

    Raises:
        MalformedFrame: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedFrame(f"{what} is not a non-negative integer")
    return value


def datatype(value: Value) -> Datatype:
    """Read a datatype name.

    Raises:
        MalformedFrame: it is none.
    """
    name = text(value, "datatype")
    if name not in Datatype.__members__:
        raise MalformedFrame(f"unknown datatype '{name}'")
    return Datatype(name)


def items(value: Value, what: str) -> list[Value]:
    """Read a member that is a list.

    Raises:
        MalformedFrame: it is not.
    """
    if not isinstance(value, list):
        raise MalformedFrame(f"{what} is not a list")
    return value


def members(value: Value, names: frozenset[str], what: str) -> dict[str, Value]:
    """Read an object with exactly these members.

    Raises:
        MalformedFrame: it is not an object, or has others or fewer.
    """
    if not isinstance(value, dict) or value.keys() != names:
        raise MalformedFrame(f"{what} does not have exactly {', '.join(sorted(names))}")
    return value


_TENSOR: Final = frozenset({"name", "datatype", "shape", "size"})


def _tensor(entry: Value, reader: Reader) -> Tensor:
    fields = members(entry, _TENSOR, "tensor")
    name = text(fields["name"], "tensor name")
    shape = read_shape(fields["shape"], name, least=0)
    data = reader.take(integer(fields["size"], "tensor size"), "tensor data")
    return from_binary(name, datatype(fields["datatype"]), shape, data)


def _without_floats(value: Value) -> Canonical:
    # `canonical` raises TypeError on floats; the cast only tells the type checker so.
    return value  # type: ignore[return-value]
