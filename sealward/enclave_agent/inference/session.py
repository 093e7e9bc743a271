"""onnxruntime in the worker: a session whose weights are the shared pages themselves.

The only module that imports onnxruntime; importing it costs threads and files, so the worker does
it at a chosen moment. Facts below were measured on onnxruntime 1.32 (1.31 agrees).
"""

from __future__ import annotations

import math
import mmap
import os
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from sealward.enclave_agent.inference.errors import Fault, InvalidRequest
from sealward.enclave_agent.inference.load_order import (
    Initializer,
    LoadOrder,
    Profile,
    Region,
)
from sealward.enclave_agent.inference.signature import ANY, Signature, TensorSpec
from sealward.enclave_agent.inference.tensors import (
    Datatype,
    Tensor,
    dtype_of,
    join_bytes,
    split_bytes,
)

_SILENT: Final = 4  # log severity "fatal": messages quote names of tensors, and nobody reads them

_DATATYPES: Final[dict[str, Datatype]] = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(uint8)": Datatype.UINT8,
    "tensor(uint16)": Datatype.UINT16,
    "tensor(uint32)": Datatype.UINT32,
    "tensor(uint64)": Datatype.UINT64,
    "tensor(int8)": Datatype.INT8,
    "tensor(int16)": Datatype.INT16,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float16)": Datatype.FP16,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(string)": Datatype.BYTES,
}


class UnservableModel(Exception):
    """The model takes or gives something the protocol cannot carry."""


class Session:
    """A loaded model.

    Attributes:
        signature: inputs and outputs.
        engine: name and version of what runs it.
    """

    def __init__(self, session: ort.InferenceSession, keep_alive: tuple[object, ...]) -> None:
        self._session = session
        self._keep_alive = keep_alive  # onnxruntime computes on these; they must outlive it
        self.signature: Final = Signature(
            tuple(_spec(node) for node in session.get_inputs()),
            tuple(_spec(node) for node in session.get_outputs()),
        )
        self.engine: Final = f"onnxruntime {ort.__version__}"

    def run(self, inputs: tuple[Tensor, ...], outputs: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Compute `outputs`. Raises whatever onnxruntime raises, and InvalidRequest."""
        feed = {tensor.name: _to_array(tensor) for tensor in inputs}
        results = self._session.run(list(outputs), feed)
        return tuple(_from_array(name, array) for name, array in zip(outputs, results, strict=True))


def open_session(order: LoadOrder) -> Session:
    """Build the session that `order` describes.

    Raises:
        UnservableModel: see there.
        Exception: whatever onnxruntime raises for a model it does not take.
    """
    options = session_options(order.profile, order.threads)
    weights = None if order.weights is None else _map(order.weights)
    values = [] if weights is None else [_lay_over(weights, item) for item in order.initializers]
    # Both calls are needed. External initialisers give the optimiser true values and satisfy the
    # check of the external path; the shared ones make the session compute on our pages.
    names = [item.name for item in order.initializers]
    if names:
        options.add_external_initializers(names, values)
    for name, value in zip(names, values, strict=True):
        options.add_initializer(name, value)
    graph = _map(order.graph)
    session = ort.InferenceSession(graph[:], options, providers=["CPUExecutionProvider"])
    graph.close()
    # The wrapper keeps the serialized model for ever; these are bytes a wipe would not reach.
    session._model_bytes = None  # noqa: SLF001 - no public way exists
    return Session(session, (weights, tuple(values)))


def session_options(profile: Profile, threads: int) -> ort.SessionOptions:
    """Return the options of a profile: the same ones make a plain session give equal bits."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile is Profile.STRICT:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def _lay_over(weights: mmap.mmap, item: Initializer) -> ort.OrtValue:
    """Make a tensor of the shared pages themselves; onnxruntime does not copy it."""
    array = np.frombuffer(weights, dtype_of(item.datatype), math.prod(item.shape), item.offset)
    return ort.OrtValue.ortvalue_from_numpy(array.reshape(item.shape))


def _map(region: Region) -> mmap.mmap:
    """Map an inherited memfd read-only and drop its descriptor; a writable one is refused by it."""
    pages = mmap.mmap(region.fd, region.length, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    pages.madvise(mmap.MADV_DONTDUMP)
    os.close(region.fd)
    return pages


def _spec(node: Any) -> TensorSpec:  # noqa: ANN401 - onnxruntime has no types
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        raise UnservableModel(f"'{node.name}' is a {node.type}, which the protocol cannot carry")
    shape = tuple(dim if isinstance(dim, int) and dim >= 0 else ANY for dim in node.shape)
    return TensorSpec(node.name, datatype, shape)


def _to_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    if tensor.datatype is not Datatype.BYTES:
        return np.frombuffer(tensor.data, dtype_of(tensor.datatype)).reshape(tensor.shape)
    count = math.prod(tensor.shape)
    parts = split_bytes(tensor.data, count, tensor.name)
    array = np.empty(count, dtype=object)
    array[:] = [part.decode("utf-8") for part in parts]  # ONNX strings are UTF-8
    return array.reshape(tensor.shape)


def _from_array(name: str, array: object) -> Tensor:
    if not isinstance(array, np.ndarray):
        raise InvalidRequest(Fault.UNSUPPORTED, f"output '{name}' is not a tensor")
    datatype = _datatype_of(name, array)
    if datatype is Datatype.BYTES:
        data = join_bytes([str(item).encode("utf-8") for item in array.ravel()])
    else:
        data = np.ascontiguousarray(array, dtype=dtype_of(datatype)).tobytes()
    return Tensor(name, datatype, tuple(array.shape), data)


def _datatype_of(name: str, array: np.ndarray[Any, Any]) -> Datatype:
    if array.dtype.kind in "OU":
        return Datatype.BYTES
    for datatype in Datatype:
        if datatype is not Datatype.BYTES and dtype_of(datatype) == array.dtype:
            return datatype
    raise InvalidRequest(Fault.UNSUPPORTED, f"output '{name}' has type {array.dtype}")
