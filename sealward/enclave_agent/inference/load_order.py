"""The agent's order to a fresh worker: which descriptors hold what, and how to run it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.inference import frames
from sealward.enclave_agent.inference.frames import Frame, Kind, MalformedFrame
from sealward.enclave_agent.inference.tensors import MAX_RANK, Datatype, dtype_of

if TYPE_CHECKING:
    from sealward.verifier.wire.json import Canonical, Value

MAX_INITIALIZERS: Final = 1 << 17  # as many as a sealed model's tensor table may list


@unique
class Profile(StrEnum):
    """How much of the weights may exist outside our mapping while the model serves.

    STRICT: none. Prepacking is off, so onnxruntime computes on the shared pages themselves and
    wiping those kills the live session.
    """

    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Initializer:
    """One weight tensor inside the weights part.

    Attributes:
        name: the initialiser's name in the skeleton.
        datatype: element type; never BYTES.
        shape: dimensions.
        offset: first byte in the weights part; a multiple of the element size.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Region:
    """An inherited memfd: its descriptor number, and its length in bytes."""

    fd: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOrder:
    """Everything a worker needs to become a model.

    Attributes:
        graph: the ONNX skeleton, or a whole model when nothing could be split off.
        weights: the weights part, or None for a whole model.
        initializers: what lies where in `weights`.
        profile: see Profile.
        threads: intra-op threads of onnxruntime.
        max_private_bytes: bound of heap and private mappings (RLIMIT_DATA).
    """

    graph: Region
    weights: Region | None
    initializers: tuple[Initializer, ...]
    profile: Profile
    threads: int
    max_private_bytes: int

    def to_frame(self) -> list[bytes]:
        """Return the pieces of the LOAD frame."""
        members: dict[str, Canonical] = {
            "graph": [self.graph.fd, self.graph.length],
            "weights": None if self.weights is None else [self.weights.fd, self.weights.length],
            "initializers": [
                [item.name, item.datatype.value, list(item.shape), item.offset]
                for item in self.initializers
            ],
            "profile": self.profile.value,
            "threads": self.threads,
            "max_private_bytes": self.max_private_bytes,
        }
        return frames.encode(Kind.LOAD, members)


_MEMBERS: Final = frozenset(
    {"graph", "weights", "initializers", "profile", "threads", "max_private_bytes"}
)
_INITIALIZER_FIELDS: Final = 4


def read(frame: Frame) -> LoadOrder:
    """Read a LOAD frame.

    Raises:
        MalformedFrame: it is not one, or a tensor lies outside the weights.
    """
    if frame.kind is not Kind.LOAD or frame.body:
        raise MalformedFrame("the first frame is not a load order")
    fields = frames.members(frame.members, _MEMBERS, "load order")
    if fields["profile"] != Profile.STRICT:
        raise MalformedFrame("unknown profile")
    weights = None if fields["weights"] is None else _region(fields["weights"])
    room = 0 if weights is None else weights.length
    return LoadOrder(
        graph=_region(fields["graph"]),
        weights=weights,
        initializers=read_initializers(fields["initializers"], room),
        profile=Profile.STRICT,
        threads=frames.integer(fields["threads"], "threads"),
        max_private_bytes=frames.integer(fields["max_private_bytes"], "max_private_bytes"),
    )


def read_initializers(value: Value, room: int) -> tuple[Initializer, ...]:
    """Read a list of `[name, datatype, shape, offset]` over weights of `room` bytes.

    Raises:
        MalformedFrame: an entry is not one, lies outside the weights, or comes twice.
    """
    listed = frames.items(value, "initializers")
    if len(listed) > MAX_INITIALIZERS:
        raise MalformedFrame(f"more than {MAX_INITIALIZERS} initialisers")
    found = tuple(_initializer(item, room) for item in listed)
    if len({item.name for item in found}) != len(found):
        raise MalformedFrame("two initialisers of one name")
    return found


def byte_length(datatype: Datatype, shape: tuple[int, ...]) -> int:
    """Return the bytes of a tensor of fixed-size elements."""
    return math.prod(shape) * dtype_of(datatype).itemsize


def _region(value: Value) -> Region:
    pair = frames.items(value, "region")
    if len(pair) != len(("fd", "length")):
        raise MalformedFrame("a region is a descriptor and a length")
    return Region(frames.integer(pair[0], "descriptor"), frames.integer(pair[1], "length"))


def _initializer(value: Value, room: int) -> Initializer:
    fields = frames.items(value, "initialiser")
    if len(fields) != _INITIALIZER_FIELDS:
        raise MalformedFrame("an initialiser has name, datatype, shape and offset")
    name = frames.text(fields[0], "initialiser name")
    datatype = frames.datatype(fields[1])
    dims = frames.items(fields[2], "initialiser shape")
    shape = tuple(frames.integer(dim, "dimension") for dim in dims)
    if len(shape) > MAX_RANK:
        raise MalformedFrame(f"initialiser '{name}' has rank {len(shape)}")
    offset = frames.integer(fields[3], "offset")
    if datatype is Datatype.BYTES or offset % dtype_of(datatype).itemsize:
        raise MalformedFrame(f"initialiser '{name}' cannot be read in place")
    if offset + byte_length(datatype, shape) > room:
        raise MalformedFrame(f"initialiser '{name}' lies outside the weights")
    return Initializer(name, datatype, shape, offset)
