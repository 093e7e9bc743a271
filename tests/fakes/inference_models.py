"""Real ONNX models for inference tests: magika's from its wheel, and small ones made here."""

from __future__ import annotations

import importlib.util
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import numpy as np
import onnx
from conftest import require_part
from onnx import TensorProto, helper, numpy_helper

from sealward.enclave_agent.inference.tensors import Datatype, Tensor
from sealward.sealing.errors import Code, UnsealableModel
from sealward.sealing.onnx_split import split
from sealward.sealing.source import BytesSource, Source, read

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from sealward.sealing.core import PartName
    from sealward.sealing.writer import PlainModel

ISSUER = "trust.example"
TENANT = "default"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def magika_model() -> bytes:
    """Magika's model, found without importing the package (which would start onnxruntime here)."""
    spec = importlib.util.find_spec("magika")
    if spec is None or not spec.submodule_search_locations:
        require_part("magika is not installed: pip install 'magika>=1.0.3,<2'")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0])
    return (folder / "models" / "standard_v3_3" / "model.onnx").read_bytes()


def magika_input(seed: int = 0) -> Tensor:
    """A magika input of random bytes."""
    tokens = np.random.default_rng(seed).integers(0, 256, (1, 2048)).astype("<i4")
    return Tensor("bytes", Datatype.INT32, (1, 2048), tokens.tobytes())


def plain_run(model: bytes, inputs: dict[str, Any]) -> list[Any]:
    """Run a model in this process with the options that the strict profile uses."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime as ort  # noqa: PLC0415 - after the switch, and only where it is needed

    from sealward.enclave_agent.inference.load_order import Profile  # noqa: PLC0415
    from sealward.enclave_agent.inference.session import session_options  # noqa: PLC0415

    options = session_options(Profile.STRICT, threads=1)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    outputs: list[Any] = session.run(None, inputs)
    return outputs


def _no_external(location: str) -> Source:
    raise UnsealableModel(Code.HOSTILE_EXTERNAL_PATH, location)


def split_model(model: bytes) -> PlainModel:
    """The product's own splitter over bytes."""
    return split(BytesSource(model), _no_external)


class PlainParts:
    """A PartSource that holds its parts in clear: everything but the decryption."""

    def __init__(self, parts: dict[PartName, bytes]) -> None:
        self.parts = parts

    @classmethod
    def of(cls, model: bytes) -> PlainParts:
        plain = split_model(model)
        names = plain.format.part_names
        return cls(
            {name: read(part, 0, part.size) for name, part in zip(names, plain.parts, strict=True)}
        )

    def part_names(self) -> tuple[PartName, ...]:
        return tuple(self.parts)

    def part_length(self, name: PartName) -> int:
        return len(self.parts[name])

    def decrypt_into(self, name: PartName, dst: memoryview) -> None:
        dst[:] = self.parts[name]


def scaling_model(weights: np.ndarray[Any, Any]) -> bytes:
    """y = x * weights, elementwise: what the weights are is what comes out."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "scaling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weights.size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", weights.size])],
        [numpy_helper.from_array(weights, "w")],
    )
    return _serialized(graph)


def widening_model(width: int) -> bytes:
    """y[n, width] = x[n, 1] * ones: a small request for a large answer."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "widening",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])],
        [numpy_helper.from_array(np.ones((1, width), np.float32), "w")],
    )
    return _serialized(graph)


def looping_model() -> bytes:
    """Multiplies a 64x64 matrix `count` times: a run as long as the caller says."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state_in", "w"], ["state_out"]),
            helper.make_node("Identity", ["condition_in"], ["condition_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_in", TensorProto.FLOAT, [64, 64]),
        ],
        [
            helper.make_tensor_value_info("condition_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, [64, 64]),
        ],
    )
    weights = np.eye(64, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["count", "scalar"], ["trips"]),
            helper.make_node("Loop", ["trips", "go", "w"], ["y"], body=body),
        ],
        "looping",
        [helper.make_tensor_value_info("count", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 64])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array(True), "go"),  # noqa: FBT003 - a tensor, not a flag
            numpy_helper.from_array(np.array([], dtype=np.int64), "scalar"),
        ],
    )
    return _serialized(graph)


def loop_count(count: int) -> Tensor:
    """The looping model's input."""
    return Tensor("count", Datatype.INT64, (1,), count.to_bytes(8, "little"))


def gathering_model() -> bytes:
    """Fails inside onnxruntime when the index is out of range: a fault only the data shows."""
    weights = np.arange(512, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["w", "index"], ["y"])],
        "gathering",
        [helper.make_tensor_value_info("index", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(weights, "w")],
    )
    return _serialized(graph)


def echo_strings_model() -> bytes:
    """Returns its strings."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["text"], ["same"])],
        "echo",
        [helper.make_tensor_value_info("text", TensorProto.STRING, ["n"])],
        [helper.make_tensor_value_info("same", TensorProto.STRING, ["n"])],
    )
    return _serialized(graph)


def external_path_model(location: str) -> bytes:
    """A model whose weights claim to lie in a file outside it."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "external",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [tensor],
    )
    return _serialized(graph)


def _serialized(graph: onnx.GraphProto) -> bytes:
    opset = helper.make_opsetid("", 17)
    serialized: bytes = helper.make_model(
        graph, opset_imports=[opset], ir_version=9
    ).SerializeToString()
    return serialized


def key_id(key: Ed25519PrivateKey) -> str:
    """The `kid` of a signing key."""
    return sha256(key.public_key().public_bytes_raw()).hexdigest()


@dataclass(frozen=True)
class TokenMint:
    """Signs client tokens as a control plane would."""

    key: Ed25519PrivateKey
    workload: str = "files"

    def claims(self, **changes: object) -> dict[str, object]:
        at = int(NOW.timestamp())
        return {
            "iss": ISSUER,
            "aud": f"workload:{self.workload}",
            "sub": "client-1",
            "tenant": TENANT,
            "jti": "0001",
            "iat": at,
            "exp": at + 300,
        } | changes

    def header(self, **changes: object) -> dict[str, Any]:
        return {"typ": "sealward-client+jwt", "kid": key_id(self.key)} | changes

    def token(self, claims: dict[str, object] | None = None, **header: object) -> str:
        return jwt.encode(
            self.claims() if claims is None else claims,
            self.key,
            algorithm="EdDSA",
            headers=self.header(**header),
        )


def boottime_ns() -> int:
    """The clock that leases run on."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
