"""Bodies of inference requests and answers in the Open Inference Protocol, JSON and binary.

The binary extension puts raw tensors behind the JSON, in the order in which the JSON lists them;
the header `Inference-Header-Content-Length` says where the JSON ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from json import dumps
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.inference.errors import Fault, InvalidRequest
from sealward.enclave_agent.inference.tensors import (
    MAX_NAME,
    Tensor,
    from_binary,
    from_json,
    read_datatype,
    read_shape,
    to_json,
)
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from sealward.enclave_agent.inference.catalog import Entry
    from sealward.verifier.wire.json import Value

MAX_TENSORS: Final = 256
_MAX_DEPTH: Final = 20  # inputs[] of nested `data` of at most 16 levels
_INPUT: Final = frozenset({"name", "shape", "datatype", "parameters", "data"})
_OUTPUT: Final = frozenset({"name", "parameters"})
_REQUEST: Final = frozenset({"id", "parameters", "inputs", "outputs"})
_SIZE: Final = "binary_data_size"
_BINARY: Final = "binary_data"
_ALL_BINARY: Final = "binary_data_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A decoded request.

    Attributes:
        request_id: echoed in the answer; empty when absent.
        inputs: tensors in the order given.
        outputs: names asked for; empty means all.
        binary: the outputs to answer in binary form; `all_binary` is the default for the rest.
        text: the outputs to answer as JSON although `all_binary`.
        all_binary: the request's `binary_data_output`.
    """

    request_id: str
    inputs: tuple[Tensor, ...] = field(repr=False)
    outputs: tuple[str, ...]
    binary: frozenset[str]
    text: frozenset[str]
    all_binary: bool

    def wants_binary(self, name: str) -> bool:
        """Return whether output `name` goes out in binary form."""
        return name in self.binary or (self.all_binary and name not in self.text)


def decode(body: bytes, json_length: int | None, max_json: int) -> InferRequest:
    """Read a request body.

    Args:
        body: the whole body.
        json_length: the header `Inference-Header-Content-Length`, None when absent.
        max_json: budget of the JSON part in bytes.

    Raises:
        InvalidRequest: anything but a request this server can answer; total for any bytes.
    """
    reader = Reader(body)
    try:
        length = len(body) if json_length is None else json_length
        head = reader.take(length, "JSON part")
        document = json.decode(head, what="request", max_bytes=max_json, max_depth=_MAX_DEPTH)
        request = _request(document, reader)
        reader.finish()
    except MalformedEvidence as error:
        raise InvalidRequest(Fault.MALFORMED, error.detail) from None
    return request


def encode(
    entry: Entry, request: InferRequest, outputs: tuple[Tensor, ...]
) -> tuple[bytes, int | None]:
    """Return the answer's body, and the length of its JSON part when binary data follows.

    Raises:
        InvalidRequest: NOT_REPRESENTABLE, an output that JSON cannot carry.
    """
    described: list[dict[str, Value]] = []
    raw = []
    for tensor in outputs:
        shape: list[Value] = [*tensor.shape]
        item: dict[str, Value] = {
            "name": tensor.name,
            "datatype": tensor.datatype.value,
            "shape": shape,
        }
        if request.wants_binary(tensor.name):
            item["parameters"] = {_SIZE: len(tensor.data)}
            raw.append(tensor.data)
        else:
            item["data"] = to_json(tensor)
        described.append(item)
    document = {
        "model_name": entry.name,
        "model_version": str(entry.version),
        **({"id": request.request_id} if request.request_id else {}),
        "outputs": described,
    }
    head = dumps(document, separators=(",", ":"), allow_nan=False).encode()
    return b"".join((head, *raw)), len(head) if raw else None


def _request(document: Value, reader: Reader) -> InferRequest:
    fields = _object(document, _REQUEST, "request")
    parameters = _object(fields.get("parameters", {}), frozenset({_ALL_BINARY}), "parameters")
    inputs = _list(fields.get("inputs"), "inputs")
    outputs = [_output(item) for item in _list(fields.get("outputs", []), "outputs")]
    return InferRequest(
        request_id=_text(fields.get("id", ""), "id"),
        inputs=tuple(_input(item, reader) for item in inputs),
        outputs=tuple(name for name, _ in outputs),
        binary=frozenset(name for name, binary in outputs if binary is True),
        text=frozenset(name for name, binary in outputs if binary is False),
        all_binary=_flag(parameters.get(_ALL_BINARY, False), _ALL_BINARY),
    )


def _input(value: Value, reader: Reader) -> Tensor:
    fields = _object(value, _INPUT, "input")
    name = _text(fields.get("name"), "input name")
    datatype = read_datatype(fields.get("datatype"), f"input '{name}'")
    shape = read_shape(fields.get("shape"), name, least=1)
    parameters = _object(fields.get("parameters", {}), frozenset({_SIZE}), "input parameters")
    if _SIZE not in parameters:
        if "data" not in fields:
            raise _malformed(f"input '{name}' has neither data nor {_SIZE}")
        return from_json(name, datatype, shape, fields["data"])
    if "data" in fields:
        raise _malformed(f"input '{name}' has both data and {_SIZE}")
    size = parameters[_SIZE]
    if not isinstance(size, int) or isinstance(size, bool):
        raise _malformed(f"{_SIZE} of input '{name}' is not an integer")
    return from_binary(name, datatype, shape, reader.take(size, f"binary data of '{name}'"))


def _output(value: Value) -> tuple[str, bool | None]:
    fields = _object(value, _OUTPUT, "output")
    name = _text(fields.get("name"), "output name")
    parameters = _object(fields.get("parameters", {}), frozenset({_BINARY}), "output parameters")
    if _BINARY not in parameters:
        return name, None
    return name, _flag(parameters[_BINARY], _BINARY)


def _object(value: Value, known: frozenset[str], what: str) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise _malformed(f"{what} is not an object")
    unknown = sorted(value.keys() - known)
    if unknown:  # an unknown parameter may change what the caller means: never ignored
        raise InvalidRequest(
            Fault.UNSUPPORTED, f"{what}: '{unknown[0][:MAX_NAME]}' is not supported"
        )
    return value


def _list(value: Value, what: str) -> list[Value]:
    if not isinstance(value, list) or len(value) > MAX_TENSORS:
        raise _malformed(f"{what} is not a list of at most {MAX_TENSORS}")
    return value


def _text(value: Value, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise _malformed(f"{what} is not text of at most {MAX_NAME} characters")
    return value


def _flag(value: Value, what: str) -> bool:
    if not isinstance(value, bool):
        raise _malformed(f"{what} is neither true nor false")
    return value


def _malformed(message: str) -> InvalidRequest:
    return InvalidRequest(Fault.MALFORMED, message)
