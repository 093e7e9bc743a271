"""From a sealed model to a served one.

The content key stays in this process: parts are decrypted here, straight into pages that the
worker inherits read-only. Whatever fails on the way, the plaintext is wiped and the worker ended.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from types import MappingProxyType
from typing import Final, Protocol

from sealward.enclave_agent.inference import frames, signature
from sealward.enclave_agent.inference.frames import Frame, Kind, MalformedFrame
from sealward.enclave_agent.inference.load_order import Initializer, LoadOrder, Profile, Region
from sealward.enclave_agent.inference.memory import SharedPlaintext
from sealward.enclave_agent.inference.tensors import Datatype
from sealward.enclave_agent.inference.worker_client import (
    LoadedWorker,
    ModelIdentity,
    SealedModelHandle,
    WorkerLimits,
)
from sealward.enclave_agent.inference.worker_process import WorkerGone, WorkerProcess
from sealward.sealing.core import PartName
from sealward.sealing.errors import MalformedSealedModel
from sealward.sealing.tensor_table import MAX_TABLE_BYTES, DType, TensorTable

_SPLIT: Final = frozenset({PartName.SKELETON, PartName.TENSORS, PartName.WEIGHTS})
_WHOLE: Final = frozenset({PartName.MODEL})
_GRAPHS: Final = frozenset({PartName.SKELETON, PartName.MODEL})

MAX_GRAPH: Final = 1 << 30  # protobuf stops at 2 GiB, and the graph is copied twice while it loads


_DATATYPES: Final = MappingProxyType(
    {
        DType.FLOAT16: Datatype.FP16,
        DType.FLOAT32: Datatype.FP32,
        DType.FLOAT64: Datatype.FP64,
        DType.INT8: Datatype.INT8,
        DType.INT16: Datatype.INT16,
        DType.INT32: Datatype.INT32,
        DType.INT64: Datatype.INT64,
        DType.UINT8: Datatype.UINT8,
        DType.UINT16: Datatype.UINT16,
        DType.UINT32: Datatype.UINT32,
        DType.UINT64: Datatype.UINT64,
    }
)


class PartSource(Protocol):
    """A verified sealed model together with its content key."""

    def part_names(self) -> tuple[PartName, ...]:
        """Return the names of all parts."""
        ...

    def part_length(self, name: PartName) -> int:
        """Return the bytes of plaintext of a part."""
        ...

    def decrypt_into(self, name: PartName, dst: memoryview) -> None:
        """Fill `dst`, exactly as long as the part, with its plaintext.

        Called on a thread of its own. Raises an error of its own type when the part does not
        authenticate; `dst` then holds nothing that may be used.
        """
        ...


class ModelRefused(Exception):
    """The sealed model cannot be served as it stands; the reason says what to do."""


async def open_model(
    identity: ModelIdentity, source: PartSource, *, limits: WorkerLimits
) -> SealedModelHandle:
    """Decrypt `source` into shared memory and start a worker on it, in the strict profile.

    Raises:
        ModelRefused: unknown parts, a table that does not fit, or the worker refused the model.
        Exception: whatever `source` raises for parts that do not authenticate.
        OSError: no memory or process could be had.
    """
    with ExitStack() as undo:  # wipes and closes what was decrypted unless we arrive at the end
        parts = await _decrypt(source, undo)
        order = _order(parts, limits)
        shared = tuple(part for name, part in parts.items() if name is not PartName.TENSORS)
        process = await WorkerProcess.start(tuple(part.fd for part in shared))
        try:
            worker = await _load(process, order, shared, limits)
        except BaseException:
            process.kill()
            await process.wait()
            raise
        handle = SealedModelHandle(identity, worker, limits)
        undo.pop_all()
        table = parts.get(PartName.TENSORS)
        if table is not None:
            table.wipe()
            table.close()
        return handle


async def _decrypt(source: PartSource, undo: ExitStack) -> dict[PartName, SharedPlaintext]:
    names = frozenset(source.part_names())
    if names not in (_SPLIT, _WHOLE):
        raise ModelRefused(
            f"parts {', '.join(sorted(names))}: a model is sealed as 'model' or as "
            "'skeleton', 'tensors' and 'weights'; seal it again"
        )
    parts: dict[PartName, SharedPlaintext] = {}
    for name in sorted(names):
        length = source.part_length(name)
        if name in _GRAPHS and length > MAX_GRAPH:
            raise ModelRefused(f"part '{name}' has {length} bytes, at most {MAX_GRAPH} are loaded")
        part = undo.enter_context(SharedPlaintext(f"sealward-{name}", length))
        job = asyncio.ensure_future(asyncio.to_thread(_decrypt_part, source, name, part))
        try:
            await asyncio.shield(job)
        finally:  # a cancelled open still waits: the thread would write after the wipe
            await asyncio.wait({job})
        parts[name] = part
    return parts


def _decrypt_part(source: PartSource, name: PartName, part: SharedPlaintext) -> None:
    with part.view() as view:
        source.decrypt_into(name, view)


def _order(parts: dict[PartName, SharedPlaintext], limits: WorkerLimits) -> LoadOrder:
    graph = next(part for name, part in parts.items() if name in _GRAPHS)
    weights = parts.get(PartName.WEIGHTS)
    table = parts.get(PartName.TENSORS)
    initializers: tuple[Initializer, ...] = ()
    if weights is not None and table is not None:
        initializers = initializers_from(table, weights.length)
    plaintext = sum(part.length for part in parts.values())
    return LoadOrder(
        graph=Region(graph.fd, graph.length),
        weights=None if weights is None else Region(weights.fd, weights.length),
        initializers=initializers,
        profile=Profile.STRICT,
        threads=limits.threads,
        max_private_bytes=limits.private_bytes + 2 * plaintext,
    )


def initializers_from(table: SharedPlaintext, weights_bytes: int) -> tuple[Initializer, ...]:
    """Read the part `tensors` of a model whose part `weights` is `weights_bytes` long.

    Raises:
        ModelRefused: it is no tensor table, or does not fit the weights.
    """
    try:
        data = table.read(MAX_TABLE_BYTES)
        tensors = TensorTable.parse(data, weights_bytes=weights_bytes).tensors
    except (MalformedSealedModel, ValueError) as error:
        raise ModelRefused(f"tensor table: {error}; seal the model again") from None
    return tuple(
        Initializer(tensor.name, _DATATYPES[tensor.dtype], tensor.shape, tensor.offset)
        for tensor in tensors
    )


async def _load(
    process: WorkerProcess,
    order: LoadOrder,
    shared: tuple[SharedPlaintext, ...],
    limits: WorkerLimits,
) -> LoadedWorker:
    try:
        async with asyncio.timeout(limits.load_seconds):
            frame = await process.exchange(order.to_frame())
        return _loaded(process, frame, shared)
    except TimeoutError:
        raise ModelRefused(f"the worker did not load it within {limits.load_seconds:g} s") from None
    except WorkerGone:
        process.kill()
        status = await process.wait()
        raise ModelRefused(f"the worker ended with status {status} while loading") from None
    except MalformedFrame as error:
        raise ModelRefused(f"the worker broke the protocol: {error}") from None


def _loaded(
    process: WorkerProcess, frame: Frame, shared: tuple[SharedPlaintext, ...]
) -> LoadedWorker:
    if frame.kind is Kind.FAILED:
        reason = frames.text(frame.members.get("reason"), "reason", max_length=1000)
        raise ModelRefused(f"the worker could not load it: {reason}")
    if frame.kind is not Kind.LOADED:
        raise MalformedFrame(f"a {frame.kind} frame instead of a load answer")
    members = frame.members
    measures = frames.items(members.get("measures"), "measures")
    return LoadedWorker(
        process,
        shared,
        signature.read(members.get("inputs"), members.get("outputs")),
        tuple(frames.text(measure, "measure") for measure in measures),
        frames.text(members.get("engine"), "engine"),
    )
