"""Inference of a sealed model against the plain one: magika, batch 1, one thread.

Four ways to run the same bytes through the same model, interleaved in one run so that noise of the
machine meets all of them:

- plain: onnxruntime in this process, model loaded from its bytes, the strict profile's options;
- sealed: the same session over the decrypted parts in shared memory, in this process;
- worker: the product's handle, asked from this event loop;
- http_binary, http_json: the product's server on loopback, asked by http.client over one kept
  connection, token verified, both gates passed.

plain_prepacked is onnxruntime as it comes (prepacking on): what the strict profile costs.
Open times are of a really sealed file: every segment digest and AEAD tag checked.

    python benchmarks/inference.py [--json] [--rounds N]
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything can import onnxruntime

import argparse
import asyncio
import hashlib
import http.client
import importlib.util
import json
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeAlias

import jwt
import numpy as np
import onnxruntime as ort
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealward.enclave_agent.clock import NS_PER_S, boottime_ns
from sealward.enclave_agent.inference.catalog import Catalog, Entry
from sealward.enclave_agent.inference.client_tokens import TOKEN_TYPE, ClientTokenVerifier
from sealward.enclave_agent.inference.gate import Permit, Refusal, Refused
from sealward.enclave_agent.inference.load_order import LoadOrder, Profile, Region
from sealward.enclave_agent.inference.loader import initializers_from, open_model
from sealward.enclave_agent.inference.memory import SharedPlaintext
from sealward.enclave_agent.inference.oip import Budgets, InferenceApp
from sealward.enclave_agent.inference.sealed_parts import SealedParts
from sealward.enclave_agent.inference.server import InferenceServer
from sealward.enclave_agent.inference.session import Session, open_session, session_options
from sealward.enclave_agent.inference.tensors import Datatype, Tensor
from sealward.enclave_agent.inference.worker_client import (
    ModelIdentity,
    SealedModelHandle,
    WorkerLimits,
)
from sealward.sealing.container import Check, SealedModel
from sealward.sealing.core import PartName
from sealward.sealing.hpke import PrivateKey, Suite
from sealward.sealing.onnx_split import split
from sealward.sealing.signing import CreatorPrivateKey
from sealward.sealing.source import BytesSource, FileSource
from sealward.sealing.workload_key import WorkloadKey
from sealward.sealing.wrap import unwrap_content_key
from sealward.sealing.writer import Description, seal

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WARM_UP = 10
HEADER_LENGTH = "Inference-Header-Content-Length"

Way: TypeAlias = Callable[[], Awaitable[bytes]]


def main() -> None:
    """Measure, and print medians."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--rounds", type=int, default=200)
    options = arguments.parse_args()
    result = asyncio.run(measure(options.rounds))
    if options.json:
        print(json.dumps(document(result), indent=2))
        return
    print(f"{'way':<18}{'p50 ms':>9}{'p95 ms':>9}{'/plain':>8}")
    for name, way in result["ways"].items():
        print(f"{name:<18}{way['p50_ms']:>9.3f}{way['p95_ms']:>9.3f}{way['ratio']:>8.3f}")
    print(f"open sealed file to ready worker: {result['open_ms']:.0f} ms")
    print(f"revoke: wiped after {result['fence_ms']:.2f} ms, reaped {result['revoke_ms']:.1f} ms")


def magika_model() -> bytes:
    """Return the model from magika's wheel, without importing the package."""
    spec = importlib.util.find_spec("magika")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("magika is not installed: pip install 'magika>=1.0.3,<2'")
    folder = Path(spec.submodule_search_locations[0])
    return (folder / "models" / "standard_v3_3" / "model.onnx").read_bytes()


def sealed_parts(model: bytes, stack: ExitStack) -> SealedParts:
    """Seal the model into a temporary file and open it with the released key."""
    creator = CreatorPrivateKey.generate(os.urandom)
    private = PrivateKey.generate(Suite.MLKEM768_X25519, os.urandom)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    file = stack.enter_context((folder / "magika.sealed").open("w+b"))
    seal(
        split(BytesSource(model), _no_external_data),
        Description(model="magika", version=1, created=NOW),
        workload_key=WorkloadKey(tenant="default", workload="files", public=private.public),
        creator=creator,
        descriptor=file.fileno(),
        random_bytes=os.urandom,
    )
    sealed = SealedModel.open(FileSource(file.fileno()))
    sealed.verify_signatures(creator.public)
    wrap = sealed.header.wrap_for(private.public.key_id)
    key = unwrap_content_key(wrap, private, sealed.core_digest)
    return SealedParts(sealed, key, check=Check.FULL, threads=1)


def _no_external_data(location: str) -> BytesSource:
    raise SystemExit(f"magika's model names external data: {location}")


def plain_session(model: bytes, *, prepacking: bool) -> ort.InferenceSession:
    """Load the model from its bytes."""
    options = session_options(Profile.STRICT, threads=1)
    if prepacking:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def sealed_session(parts: SealedParts, stack: ExitStack) -> Session:
    """Load the model in this process as a worker would."""
    memory = {}
    for name in parts.part_names():
        part = stack.enter_context(SharedPlaintext("benchmark", parts.part_length(name)))
        with part.view() as view:
            parts.decrypt_into(name, view)
        memory[name] = part
    graph, weights = memory[PartName.SKELETON], memory[PartName.WEIGHTS]
    return open_session(
        LoadOrder(
            graph=Region(os.dup(graph.fd), graph.length),
            weights=Region(os.dup(weights.fd), weights.length),
            initializers=initializers_from(memory[PartName.TENSORS], weights.length),
            profile=Profile.STRICT,
            threads=1,
            max_private_bytes=0,  # a bound for workers; nothing here applies it
        )
    )


class Client:
    """One kept connection to the server, asked from a thread as a separate client would."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}"}

    async def binary(self, tensor: Tensor) -> bytes:
        """Ask with binary tensors; return the output's raw data."""
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": tensor.name,
                        "shape": tensor.shape,
                        "datatype": tensor.datatype,
                        "parameters": {"binary_data_size": len(tensor.data)},
                    }
                ],
                "parameters": {"binary_data_output": True},
            }
        ).encode()
        extra = {HEADER_LENGTH: str(len(head))}
        headers, body = await asyncio.to_thread(self._ask, head + tensor.data, extra)
        return body[int(headers[HEADER_LENGTH]) :]

    async def text(self, tensor: Tensor) -> bytes:
        """Ask with JSON tensors; return the output's raw data."""
        data = np.frombuffer(tensor.data, "<i4").tolist()
        entry = {"name": tensor.name, "shape": tensor.shape, "datatype": "INT32", "data": data}
        body = json.dumps({"inputs": [entry]}).encode()
        _, answer = await asyncio.to_thread(self._ask, body, {})
        [output] = json.loads(answer)["outputs"]  # noqa: TID251 - our own server's answer
        return np.array(output["data"], "<f4").tobytes()

    def _ask(self, body: bytes, extra: dict[str, str]) -> tuple[http.client.HTTPMessage, bytes]:
        path = "/v2/models/magika/infer"
        self._connection.request("POST", path, body, self._headers | extra)
        answer = self._connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise SystemExit(f"{answer.status}: {answer.read()!r}")
        return answer.headers, answer.read()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Gate:
    """One lease that outlasts the benchmark: a token verified and a clock read, as in an agent."""

    def __init__(self, tokens: ClientTokenVerifier, horizon_ns: int) -> None:
        self._tokens = tokens
        self._horizon_ns = horizon_ns

    def identify(self, token: str) -> None:
        """See LeaseGate."""
        self._tokens.verify(token, now=NOW)

    def enter(self, model: str, token: str) -> Permit:
        """See LeaseGate."""
        if model != "magika":
            raise Refused(Refusal.UNKNOWN_MODEL, model)
        self.identify(token)
        self.release()
        return self

    def release(self) -> None:
        """See Permit."""
        if boottime_ns() >= self._horizon_ns:
            raise Refused(Refusal.LEASE_EXPIRED, "the benchmark took longer than an hour")


async def serve(handle: SealedModelHandle, stack: AsyncExitStack) -> Client:
    """Start the product's server on loopback."""
    key = Ed25519PrivateKey.generate()
    tokens = ClientTokenVerifier(issuer="bench", tenant="default", keys=(key.public_key(),))
    gate = Gate(tokens, boottime_ns() + 3600 * NS_PER_S)
    catalog = Catalog()
    catalog.put(Entry("magika", 1, handle))
    app = InferenceApp(catalog=catalog, gate=gate, budgets=Budgets())
    server = InferenceServer(app, host="127.0.0.1", port=0, tls=None)
    port = await server.start()
    stack.push_async_callback(server.stop)
    client = Client(port, client_token(key))
    stack.callback(client.close)
    return client


def client_token(key: Ed25519PrivateKey) -> str:
    """Mint what the control plane would."""
    at = int(NOW.timestamp())
    claims = {"iss": "bench", "aud": "workload:files", "sub": "client", "tenant": "default"}
    kid = hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()
    return jwt.encode(
        claims | {"jti": "1", "iat": at, "exp": at + 3600},
        key,
        algorithm="EdDSA",
        headers={"typ": TOKEN_TYPE, "kid": kid},
    )


async def measure(rounds: int) -> dict[str, Any]:
    """Return the ways' times in milliseconds, with p50 over that of plain, and open and revoke."""
    model = magika_model()
    with ExitStack() as stack:
        parts = sealed_parts(model, stack)
        begin = time.perf_counter()
        identity = ModelIdentity("magika", 1, bytes(32))
        handle = await open_model(identity, parts, limits=WorkerLimits())
        open_ms = (time.perf_counter() - begin) * 1e3
        async with AsyncExitStack() as serving:
            client = await serve(handle, serving)
            times = await interleaved(
                ways(model, sealed_session(parts, stack), handle, client), rounds
            )
        begin = time.perf_counter()
        revoking = asyncio.create_task(handle.revoke("benchmark over"))
        await asyncio.sleep(0)  # the task's first step is the whole fence: refuse, wipe, kill
        fence_ms = (time.perf_counter() - begin) * 1e3
        await revoking
        revoke_ms = (time.perf_counter() - begin) * 1e3
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cpus",
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
        "rounds": rounds,
        "ways": summary(times),
        "open_ms": round(open_ms, 1),
        "fence_ms": round(fence_ms, 3),
        "revoke_ms": round(revoke_ms, 2),
    }


def document(result: dict[str, Any]) -> dict[str, Any]:
    """Return the document of benchmarks/README.md."""
    labels = {
        "plain": "plain model, this process",
        "plain_prepacked": "plain model, prepacking on",
        "sealed": "sealed model, this process",
        "worker": "sealed model, confined worker",
        "http_binary": "the same over HTTP, binary tensors",
        "http_json": "the same over HTTP, JSON tensors",
    }
    rows: list[dict[str, Any]] = []
    for name, way in result["ways"].items():
        row: dict[str, Any] = {"label": labels[name], "median": way["p50_ms"]}
        if name != "plain":
            row |= {"ratio_to": labels["plain"], "ratio": way["ratio"]}
        rows.append(row)
    return {
        "name": "Inference",
        "what": "magika, batch 1, one thread: the sealed model against the plain one.",
        "unit": "ms",
        "rows": rows,
        "notes": [
            f"From a sealed file to a ready worker: {result['open_ms']} ms.",
            f"Revoked: wiped after {result['fence_ms']} ms, gone after {result['revoke_ms']} ms.",
        ],
    }


def ways(
    model: bytes, sealed: Session, handle: SealedModelHandle, client: Client
) -> dict[str, Way]:
    """Return what is compared, by name; each run returns the output's raw data."""
    tokens = np.random.default_rng(0).integers(0, 256, (1, 2048)).astype("<i4")
    tensor = Tensor("bytes", Datatype.INT32, (1, 2048), tokens.tobytes())
    plain = plain_session(model, prepacking=False)
    prepacked = plain_session(model, prepacking=True)

    async def run_plain(session: ort.InferenceSession) -> bytes:
        output: bytes = session.run(None, {"bytes": tokens})[0].tobytes()
        return output

    async def run_sealed() -> bytes:
        return sealed.run((tensor,), ("target_label",))[0].data

    async def run_worker() -> bytes:
        return (await handle.infer((tensor,)))[0].data

    return {
        "plain": lambda: run_plain(plain),
        "plain_prepacked": lambda: run_plain(prepacked),
        "sealed": run_sealed,
        "worker": run_worker,
        "http_binary": lambda: client.binary(tensor),
        "http_json": lambda: client.text(tensor),
    }


def summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return p50, p95 and the ratio of p50 to plain's."""
    base = median(times["plain"])
    return {
        name: {
            "p50_ms": round(median(values), 4),
            "p95_ms": round(quantiles(values, n=20)[-1], 4),
            "ratio": round(median(values) / base, 4),
        }
        for name, values in times.items()
    }


async def interleaved(ways: dict[str, Way], rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of each run, the ways taking turns, after checking that they agree.

    Raises:
        SystemExit: a way's output differs from plain's in any bit (prepacking may change bits).
    """
    expected = await ways["plain"]()
    for name, way in ways.items():
        if name != "plain_prepacked" and await way() != expected:
            raise SystemExit(f"{name} does not equal plain bit for bit")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + WARM_UP):
        for name, way in ways.items():
            begin = time.perf_counter()
            await way()
            if number >= WARM_UP:
                times[name].append((time.perf_counter() - begin) * 1e3)
    return times


if __name__ == "__main__":
    main()
