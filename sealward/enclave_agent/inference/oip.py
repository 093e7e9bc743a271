"""The Open Inference Protocol (KServe V2) over HTTP: a raw ASGI application.

    GET  /v2/health/live, /v2/health/ready, /v2                    open to all
    GET  /v2/models/M[/versions/V], /v2/models/M[/versions/V]/ready  any client token of this node
    POST /v2/repository/index                                       any client token of this node
    POST /v2/models/M[/versions/V]/infer                            a token for M's workload

Order of an inference: (1) the gate, before a byte of input is read; (2) the body, within its
budgets; (3) the model; (4) the whole answer is built; (5) the gate again; (6) the answer leaves.
Between (5) and the first send of (6) nothing is awaited.

Bodies are read raw, as clients of this protocol send no Content-Type.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

import sealward
from sealward.enclave_agent.inference import http, oip_codec
from sealward.enclave_agent.inference.catalog import Entry, ModelState
from sealward.enclave_agent.inference.errors import (
    DeadlineExceeded,
    Fault,
    InferenceError,
    InvalidRequest,
    ModelFailed,
    ModelUnavailable,
    Overloaded,
)
from sealward.enclave_agent.inference.gate import Refusal, Refused
from sealward.enclave_agent.inference.http import ClientGone, HttpRefusal, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from sealward.enclave_agent.inference.catalog import Catalog, ServedModel
    from sealward.enclave_agent.inference.gate import LeaseGate, Permit
    from sealward.enclave_agent.inference.tensors import Tensor
    from sealward.verifier.wire.json import Canonical

_T = TypeVar("_T")

PLATFORM: Final = "onnxruntime_onnx"
EXTENSIONS: Final = ("binary_tensor_data", "model_repository")

_ON_LOOP_BYTES: Final = 64 << 10  # about 2 ms of JSON; below, a thread costs more than it gives

_MODEL_PATH: Final = re.compile(
    r"/v2/models/(?P<name>[^/]{1,256})(/versions/(?P<version>[0-9]{1,18}))?(/(?P<verb>infer|ready))?"
)
_REFUSAL_STATUS: Final = MappingProxyType(
    {
        Refusal.UNAUTHENTICATED: 401,
        Refusal.FORBIDDEN: 403,
        Refusal.UNKNOWN_MODEL: 404,
        Refusal.STARTING: 503,
        Refusal.LEASE_EXPIRED: 503,
        Refusal.LEASE_REVOKED: 503,
    }
)
_FAULT_STATUS: Final = MappingProxyType(
    {
        Fault.MALFORMED: 400,
        Fault.TOO_LARGE: 413,
        Fault.INVALID_TENSOR: 400,
        Fault.UNSUPPORTED: 400,
        Fault.NOT_REPRESENTABLE: 422,
    }
)
_OUTCOMES: Final[Mapping[type[Exception], tuple[int, str]]] = MappingProxyType(
    {
        ModelUnavailable: (503, "model_unavailable"),
        Overloaded: (429, "overloaded"),
        DeadlineExceeded: (504, "deadline_exceeded"),
        ModelFailed: (422, "model_failed"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What requests may cost.

    Attributes:
        body_bytes: the whole body; 64 MiB is a batch of 100 images of 3x224x224 FP32.
        all_bodies_bytes: the bodies of all requests that are being received or run.
        json_bytes: its JSON part, which takes about 0.3 s of one core to read at this size.
        body_seconds: from the request line to the end of the body.
    """

    body_bytes: int = 64 << 20
    all_bodies_bytes: int = 512 << 20
    json_bytes: int = 8 << 20
    body_seconds: float = 30.0


class InferenceApp:
    """The ASGI application."""

    def __init__(self, *, catalog: Catalog, gate: LeaseGate, budgets: Budgets) -> None:
        self._catalog = catalog
        self._gate = gate
        self._budgets = budgets
        self._held = 0  # bytes of bodies that are being received or run

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Answer one request; every outcome is an answer, except a client that left."""
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served")
        request = Request(scope, receive)
        match = _MODEL_PATH.fullmatch(request.path)
        try:
            if match is not None and match["verb"] == "infer":
                _require(request, "POST")
                await self._infer(request, match["name"], match["version"], send)
                return
            response = self._describe(request, match)
        except ClientGone:
            return
        except (HttpRefusal, Refused, InferenceError) as error:
            response = answer_error(error)
        await response.send(send)

    async def _infer(
        self, request: Request, name: str, version: str | None, send: http.Send
    ) -> None:
        permit = self._gate.enter(name, request.bearer_token())
        entry, model = self._ready(name, version)
        json_length = request.length(http.HEADER_LENGTH)
        with self._room_for(request):
            body = await request.body(
                max_bytes=self._budgets.body_bytes, seconds=self._budgets.body_seconds
            )
            wanted = await _aside(
                len(body), lambda: oip_codec.decode(body, json_length, self._budgets.json_bytes)
            )
            outputs = await self._run(model, permit, wanted)
        size = sum(len(tensor.data) for tensor in outputs)
        answer = await _aside(size, lambda: oip_codec.encode(entry, wanted, outputs))
        response = http.tensor_response(*answer)
        permit.release()
        await response.send(send)

    @contextmanager
    def _room_for(self, request: Request) -> Generator[None, None, None]:
        """Hold room for a body, as announced or else the most it may have."""
        announced = request.length(b"content-length")
        most = self._budgets.body_bytes
        size = most if announced is None else min(announced, most)
        if self._held + size > self._budgets.all_bodies_bytes:
            raise Overloaded("the bodies of other requests fill this node's budget")
        self._held += size
        try:
            yield
        finally:
            self._held -= size

    @staticmethod
    async def _run(
        model: ServedModel, permit: Permit, wanted: oip_codec.InferRequest
    ) -> tuple[Tensor, ...]:
        try:
            return await model.infer(wanted.inputs, wanted.outputs)
        except ModelUnavailable:
            permit.release()  # a lease that ended is the better answer than the model it took along
            raise

    def _describe(self, request: Request, match: re.Match[str] | None) -> Response:
        """Answer everything but an inference; none of it reads a body."""
        if match is not None:
            _require(request, "GET")
            self._gate.identify(request.bearer_token())
            if match["verb"] == "ready":
                return self._readiness(match["name"], match["version"])
            return self._metadata(match["name"], match["version"])
        match request.path:
            case "/v2" | "/v2/" | "/v2/health/live" | "/v2/health/ready" as path:
                _require(request, "GET")
                return self._server(path)
            case "/v2/repository/index":
                _require(request, "POST")
                self._gate.identify(request.bearer_token())
                return http.json_response(200, [_index_item(e) for e in self._catalog.index()])
            case _:
                raise HttpRefusal(404, "not_found", "no such resource in this server")

    def _server(self, path: str) -> Response:
        if path == "/v2/health/live":
            return http.json_response(200, {"live": True})
        if path == "/v2/health/ready":
            entries = self._catalog.index()
            ready = any(entry.state is ModelState.READY for entry in entries)
            return http.json_response(200 if ready else 503, {"ready": ready})
        return http.json_response(
            200,
            {"name": "sealward", "version": sealward.__version__, "extensions": EXTENSIONS},
        )

    def _readiness(self, name: str, version: str | None) -> Response:
        entry = self._find(name, version)
        ready = entry.state is ModelState.READY
        value: dict[str, Canonical] = {"name": name, "ready": ready}
        if entry.reason:
            value["reason"] = entry.reason
        return http.json_response(200 if ready else 503, value)

    def _metadata(self, name: str, version: str | None) -> Response:
        _, model = self._ready(name, version)
        return http.json_response(
            200,
            {
                "name": name,
                "versions": [str(entry.version) for entry in self._catalog.versions(name)],
                "platform": PLATFORM,
                **model.signature.to_frame(),
            },
        )

    def _find(self, name: str, version: str | None) -> Entry:
        entry = self._catalog.find(name, version)
        if entry is None:
            raise Refused(Refusal.UNKNOWN_MODEL, f"no such model or version: '{name}'")
        return entry

    def _ready(self, name: str, version: str | None) -> tuple[Entry, ServedModel]:
        entry = self._find(name, version)
        if entry.reason:
            raise ModelUnavailable(entry.reason)
        if entry.model is None:
            raise Refused(Refusal.STARTING, f"model '{name}' is being opened; try again shortly")
        return entry, entry.model


def answer_error(error: HttpRefusal | Refused | InferenceError) -> Response:
    """Map every error of this package to its answer: the one place that does."""
    status, code = _status_and_code(error)
    message = error.reason if isinstance(error, Refused) else str(error)
    return http.error_response(status, code, message)


def _status_and_code(error: HttpRefusal | Refused | InferenceError) -> tuple[int, str]:
    match error:
        case HttpRefusal(status=status, code=code):
            return status, code
        case Refused(code=refusal):
            return _REFUSAL_STATUS[refusal], refusal
        case InvalidRequest(fault=fault):
            return _FAULT_STATUS[fault], fault
        case _:
            return _OUTCOMES[type(error)]


async def _aside(size: int, work: Callable[[], _T]) -> _T:
    """Do CPU work over `size` bytes, on a thread when it would hold up the event loop.

    JSON is read at about 30 MB/s: on the loop, a few large bodies would delay a revocation.
    """
    return work() if size <= _ON_LOOP_BYTES else await asyncio.to_thread(work)


def _require(request: Request, method: str) -> None:
    if request.method != method:
        raise HttpRefusal(405, "method_not_allowed", f"use {method}")


def _index_item(entry: Entry) -> dict[str, Canonical]:
    return {
        "name": entry.name,
        "version": str(entry.version),
        "state": entry.state.value,
        "reason": entry.reason,
    }
