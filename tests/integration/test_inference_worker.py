"""Sealed models in real worker processes, asked over real HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes.inference_gate import HandGate
from fakes.inference_models import (
    NOW,
    TENANT,
    PlainParts,
    TokenMint,
    boottime_ns,
    echo_strings_model,
    external_path_model,
    gathering_model,
    loop_count,
    looping_model,
    magika_input,
    magika_model,
    plain_run,
    scaling_model,
    split_model,
    widening_model,
)

from sealward.enclave_agent.inference.catalog import Catalog, Entry
from sealward.enclave_agent.inference.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelFailed,
    ModelUnavailable,
    Overloaded,
)
from sealward.enclave_agent.inference.gate import Refusal
from sealward.enclave_agent.inference.isolation import Measure
from sealward.enclave_agent.inference.loader import ModelRefused, PartSource, open_model
from sealward.enclave_agent.inference.oip import Budgets, InferenceApp
from sealward.enclave_agent.inference.sealed_parts import SealedParts
from sealward.enclave_agent.inference.server import InferenceServer
from sealward.enclave_agent.inference.tensors import Datatype, Tensor, join_bytes
from sealward.enclave_agent.inference.worker_client import (
    ModelIdentity,
    SealedModelHandle,
    WorkerLimits,
)
from sealward.sealing.container import Check, SealedModel
from sealward.sealing.core import PartName
from sealward.sealing.errors import RefusedSealedModel
from sealward.sealing.hpke import PrivateKey, Suite
from sealward.sealing.signing import CreatorPrivateKey
from sealward.sealing.source import FileSource
from sealward.sealing.workload_key import WorkloadKey
from sealward.sealing.wrap import unwrap_content_key
from sealward.sealing.writer import Description, seal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.integration

SECOND = 10**9  # ns
KEY_ID = bytes(range(32))
LONG_RUN = 40_000_000  # iterations: minutes, so it never ends by itself within a test
BODY = Budgets(body_bytes=1 << 20, json_bytes=256 << 10, body_seconds=5.0)


@asynccontextmanager
async def opened(
    source: PartSource, *, name: str = "magika", limits: WorkerLimits | None = None
) -> AsyncIterator[SealedModelHandle]:
    handle = await open_model(
        ModelIdentity(name, 1, KEY_ID), source, limits=limits or WorkerLimits()
    )
    try:
        yield handle
    finally:
        await handle.revoke("test ended")


@dataclass
class Served:
    """A model behind a real listener."""

    handle: SealedModelHandle
    gate: HandGate
    client: httpx.AsyncClient
    mint: TokenMint

    async def infer(self, **request: Any) -> httpx.Response:  # noqa: ANN401 - passed to httpx
        path = f"/v2/models/{self.handle.identity.name}/infer"
        return await self.client.post(path, **request)


@asynccontextmanager
async def served(
    source: PartSource, *, name: str = "magika", limits: WorkerLimits | None = None
) -> AsyncIterator[Served]:
    mint = TokenMint(Ed25519PrivateKey.generate())
    gate = HandGate(mint, name, horizon_ns=boottime_ns() + 600 * SECOND)
    catalog = Catalog()
    app = InferenceApp(catalog=catalog, gate=gate, budgets=BODY)
    server = InferenceServer(app, host="127.0.0.1", port=0, tls=None)
    async with opened(source, name=name, limits=limits) as handle:
        catalog.put(Entry(name, 1, handle))
        port = await server.start()
        headers = {"Authorization": f"Bearer {mint.token()}"}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30, trust_env=False
        ) as client:
            yield Served(handle, gate, client, mint)
        await server.stop()


def magika_json(tensor: Tensor) -> dict[str, Any]:
    data = np.frombuffer(tensor.data, "<i4").tolist()
    entry = {"name": "bytes", "shape": [1, 2048], "datatype": "INT32", "data": data}
    return {"id": "7", "inputs": [entry]}


def ones(width: int) -> Tensor:
    return Tensor("x", Datatype.FP32, (1, width), np.ones(width, "<f4").tobytes())


def floats(tensor: Tensor) -> np.ndarray[Any, Any]:
    return np.frombuffer(tensor.data, "<f4")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the condition lives in another process
            await asyncio.sleep(0.01)


def process_is_gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except FileNotFoundError:
        return True


def may_look_inside() -> bool:
    """Whether this process may read a non-dumpable one: CAP_SYS_PTRACE, bit 19."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> 19 & 1)


def scan(pid: int, pattern: bytes) -> int:
    """How often `pattern` is found in the writable, shared or heap memory of a process."""
    found = 0
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
            low, high = (int(x, 16) for x in re.split("[- ]", line)[:2])
            private_file = ".so" in line or "/bin/" in line
            if "[v" in line or private_file or line.split()[1].startswith("---"):
                continue
            memory.seek(low)
            found += memory.read(high - low).count(pattern)
    return found


def seal_magika(path: Path) -> tuple[CreatorPrivateKey, PrivateKey]:
    """Seal magika's model for a workload with the product's writer."""
    creator = CreatorPrivateKey.generate(os.urandom)
    private = PrivateKey.generate(Suite.MLKEM768_X25519, os.urandom)
    with path.open("wb") as file:
        seal(
            split_model(magika_model()),
            Description(model="magika", version=1, created=NOW),
            workload_key=WorkloadKey(tenant=TENANT, workload="files", public=private.public),
            creator=creator,
            descriptor=file.fileno(),
            random_bytes=os.urandom,
        )
    return creator, private


def test_a_truly_sealed_model_is_served_and_a_changed_one_is_not(tmp_path: Path):
    path = tmp_path / "magika.sealed"
    creator, private = seal_magika(path)
    tensor = magika_input(1)
    tokens = np.frombuffer(tensor.data, "<i4").reshape(1, 2048)
    [plain] = plain_run(magika_model(), {"bytes": tokens})

    async def story() -> None:
        with path.open("r+b") as file:
            sealed = SealedModel.open(FileSource(file.fileno()))
            sealed.verify_signatures(creator.public)
            wrap = sealed.header.wrap_for(private.public.key_id)
            key = unwrap_content_key(wrap, private, sealed.core_digest)
            parts = SealedParts(sealed, key, check=Check.FULL, threads=1)
            async with served(parts) as it:
                answer = (await it.infer(json=magika_json(tensor))).raise_for_status().json()
                data = np.array(answer["outputs"][0]["data"], "<f4")
                assert data.tobytes() == plain.tobytes()
            file.seek(-100, os.SEEK_END)
            [byte] = file.read(1)
            file.seek(-100, os.SEEK_END)
            file.write(bytes([byte ^ 1]))
            file.flush()
            with pytest.raises(RefusedSealedModel):
                await open_model(ModelIdentity("m", 1, KEY_ID), parts, limits=WorkerLimits())

    asyncio.run(story())
    assert children() == set()


@pytest.mark.parametrize("whole", [False, True], ids=["split", "whole"])
def test_served_over_http_equals_the_plain_model_bit_for_bit(whole: bool):  # noqa: FBT001
    model, tensor = magika_model(), magika_input()
    source = PlainParts({PartName.MODEL: model}) if whole else PlainParts.of(model)
    plain = plain_run(model, {"bytes": np.frombuffer(tensor.data, "<i4").reshape(1, 2048)})[0]

    async def story() -> None:
        async with served(source) as it:
            answer = (await it.infer(json=magika_json(tensor))).raise_for_status().json()
            [output] = answer["outputs"]
            assert (answer["model_name"], answer["model_version"], answer["id"]) == (
                "magika",
                "1",
                "7",
            )
            assert (output["datatype"], output["shape"]) == ("FP32", [1, 214])
            assert np.array(output["data"], "<f4").tobytes() == plain.tobytes()

            head = json.dumps(
                {
                    "inputs": [
                        {
                            "name": "bytes",
                            "shape": [1, 2048],
                            "datatype": "INT32",
                            "parameters": {"binary_data_size": len(tensor.data)},
                        }
                    ],
                    "outputs": [{"name": "target_label", "parameters": {"binary_data": True}}],
                }
            ).encode()
            binary = await it.infer(
                content=head + tensor.data,
                headers={"Inference-Header-Content-Length": str(len(head))},
            )
            size = int(binary.raise_for_status().headers["Inference-Header-Content-Length"])
            assert binary.content[size:] == plain.tobytes()

    asyncio.run(story())


def test_discovery_endpoints_describe_the_model_and_its_end():
    async def story() -> None:
        async with served(PlainParts.of(magika_model())) as it:
            for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/magika/ready"):
                assert (await it.client.get(path)).status_code == 200
            assert (await it.client.get("/v2")).json()["extensions"] == [
                "binary_tensor_data",
                "model_repository",
            ]
            metadata = (await it.client.get("/v2/models/magika/versions/1")).json()
            assert metadata["inputs"] == [
                {"name": "bytes", "datatype": "INT32", "shape": [-1, 2048]}
            ]
            await it.handle.revoke("revoked: measurement withdrawn")
            index = (await it.client.post("/v2/repository/index")).json()
            assert index == [
                {
                    "name": "magika",
                    "version": "1",
                    "state": "UNAVAILABLE",
                    "reason": "revoked: measurement withdrawn",
                }
            ]
            assert (await it.client.get("/v2/health/ready")).status_code == 503

    asyncio.run(story())


HOSTILE: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "empty": (b"", {}, 400, "malformed_request"),
    "truncated json": (b'{"inputs":[', {}, 400, "malformed_request"),
    "duplicate keys": (b'{"inputs":[],"inputs":[]}', {}, 400, "malformed_request"),
    "not a number": (
        b'{"inputs":[{"name":"bytes","shape":[1],"datatype":"FP32","data":[NaN]}]}',
        {},
        400,
        "malformed_request",
    ),
    "deep nesting": (b"[" * 100_000, {}, 400, "malformed_request"),
    "no inputs": (b'{"inputs":[]}', {}, 400, "invalid_tensor"),
    "wrong shape": (
        b'{"inputs":[{"name":"bytes","shape":[1,3],"datatype":"INT32","data":[1,2,3]}]}',
        {},
        400,
        "invalid_tensor",
    ),
    "shape and data disagree": (
        b'{"inputs":[{"name":"bytes","shape":[1,2048],"datatype":"INT32","data":[1,2,3]}]}',
        {},
        400,
        "invalid_tensor",
    ),
    "wrong datatype": (
        json.dumps(
            {
                "inputs": [
                    {"name": "bytes", "shape": [1, 2048], "datatype": "FP32", "data": [0] * 2048}
                ]
            }
        ).encode(),
        {},
        400,
        "invalid_tensor",
    ),
    "negative dimension": (
        b'{"inputs":[{"name":"bytes","shape":[-1,2048],"datatype":"INT32","data":[]}]}',
        {},
        400,
        "invalid_tensor",
    ),
    "huge shape": (
        b'{"inputs":[{"name":"bytes","shape":[4294967296,2048],"datatype":"INT32","data":[]}]}',
        {},
        400,
        "invalid_tensor",
    ),
    "binary size lies": (
        (
            b'{"inputs":[{"name":"bytes","shape":[1,2048],"datatype":"INT32",'
            b'"parameters":{"binary_data_size":8192}}]}'
        ),
        {},
        400,
        "malformed_request",
    ),
    "binary header lies": (
        b"{}",
        {"Inference-Header-Content-Length": "99"},
        400,
        "malformed_request",
    ),
    "binary header is no number": (
        b"{}",
        {"Inference-Header-Content-Length": "-1"},
        400,
        "malformed_request",
    ),
    "trailing bytes": (
        b"{}tail",
        {"Inference-Header-Content-Length": "2"},
        400,
        "malformed_request",
    ),
    "json over budget": (b" " * (300 << 10), {}, 400, "malformed_request"),
    "body over budget": (b" " * (2 << 20), {}, 413, "too_large"),
    "compressed": (b"{}", {"Content-Encoding": "gzip"}, 415, "unsupported_encoding"),
    "unknown parameter": (b'{"inputs":[],"parameters":{"timeout":1}}', {}, 400, "unsupported"),
}


def test_every_hostile_body_gets_one_clear_error_and_the_worker_lives_on():
    async def story() -> None:
        async with served(PlainParts.of(magika_model())) as it:
            for what, (body, headers, status, code) in HOSTILE.items():
                answer = await it.infer(content=body, headers=headers)
                assert answer.status_code == status, (what, answer.text)
                assert answer.json().keys() == {"error", "code"}, what
                assert answer.json()["code"] == code, (what, answer.text)
            fine = await it.infer(json=magika_json(magika_input()))
            assert fine.status_code == 200
            assert not process_is_gone(it.handle.worker_pid)

    asyncio.run(story())


def test_output_is_withheld_when_the_lease_ends_during_the_run():
    async def story() -> None:
        async with served(PlainParts.of(looping_model()), name="loop") as it:
            entry = {"name": "count", "shape": [1], "datatype": "INT64", "data": [300_000]}
            run = asyncio.create_task(it.infer(json={"inputs": [entry]}))
            await busy(it.handle.worker_pid)
            it.gate.end(Refusal.LEASE_REVOKED, "revoked: measurement withdrawn")
            answer = await run
            assert answer.status_code == 503
            assert answer.json() == {
                "error": "revoked: measurement withdrawn",
                "code": "lease_revoked",
            }
            # The run itself went well: what is tested is the gate and not a dead worker.
            assert it.handle.unavailable_because is None

    asyncio.run(story())


async def busy(pid: int) -> None:
    """Return once a worker has computed for 50 ms more than now: a run is under way."""

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])  # utime and stime, proc(5) fields 14 and 15

    before = ticks()
    await until(lambda: ticks() >= before + 5)


def test_callers_without_a_right_are_refused_and_the_horizon_ends_service_by_itself():
    async def story() -> None:
        async with served(PlainParts.of(scaling_model(np.ones(4096, np.float32)))) as it:
            ready = "/v2/models/magika/ready"
            other = TokenMint(it.mint.key, workload="speech").token()
            stranger = TokenMint(Ed25519PrivateKey.generate()).token()
            for token, status, code in (
                (stranger, 401, "unauthenticated"),
                ("x", 401, "unauthenticated"),
                (other, 403, "forbidden"),
            ):
                refused = await it.infer(headers={"Authorization": f"Bearer {token}"})
                assert (refused.status_code, refused.json()["code"]) == (status, code)
            assert (await it.client.get(ready)).status_code == 200
            it.gate.horizon_ns = boottime_ns() + SECOND // 10
            await asyncio.sleep(0.11)
            expired = await it.infer(content=b"never read")
            assert (expired.status_code, expired.json()["code"]) == (503, "lease_expired")

    asyncio.run(story())


def test_revocation_during_a_run_refuses_it_at_once_and_ends_the_worker():
    async def story() -> None:
        async with served(PlainParts.of(looping_model()), name="loop") as it:
            entry = {"name": "count", "shape": [1], "datatype": "INT64", "data": [LONG_RUN]}
            run = asyncio.create_task(it.infer(json={"inputs": [entry]}))
            await busy(it.handle.worker_pid)
            it.gate.end(Refusal.LEASE_REVOKED, "revoked")
            report = await it.handle.revoke("revoked: measurement withdrawn")
            assert report.exit_status == -signal.SIGKILL
            assert report.model == ModelIdentity("loop", 1, KEY_ID)
            assert report.bytes_wiped > 64 * 64 * 4
            answer = await run
            assert (answer.status_code, answer.json()["code"]) == (503, "lease_revoked")

    asyncio.run(story())


def test_wiping_zeroes_the_weights_under_the_live_session():
    weights = np.arange(1, 4097, dtype=np.float32)

    async def story() -> None:
        async with opened(PlainParts.of(scaling_model(weights))) as handle:
            [before] = await handle.infer((ones(4096),))
            assert floats(before).tobytes() == weights.tobytes()
            for part in handle._worker.plaintext:  # noqa: SLF001 - the wipe without the kill
                part.wipe()
            [after] = await handle.infer((ones(4096),))
            assert not floats(after).any()

    asyncio.run(story())


@pytest.mark.skipif(not may_look_inside(), reason="looking into a worker needs CAP_SYS_PTRACE")
def test_weights_are_gone_from_a_hung_worker_after_the_wipe():
    sentinel = os.urandom(64)  # 16 floats, whatever their values
    weights = np.frombuffer(sentinel + os.urandom(1 << 20), "<f4")

    async def story() -> None:
        async with opened(PlainParts.of(scaling_model(weights))) as handle:
            assert scan(handle.worker_pid, sentinel) == 1, "one copy, the shared one"
            os.kill(handle.worker_pid, signal.SIGSTOP)
            for part in handle._worker.plaintext:  # noqa: SLF001 - the wipe without the kill
                part.wipe()
            assert scan(handle.worker_pid, sentinel) == 0
            report = await handle.revoke("revoked")
            assert report.exit_status == -signal.SIGKILL

    asyncio.run(story())


def test_a_crashed_worker_fails_its_run_and_takes_the_model_out_of_service():
    async def story() -> None:
        async with opened(PlainParts.of(looping_model()), name="loop") as handle:
            run = asyncio.create_task(handle.infer((loop_count(LONG_RUN),)))
            await busy(handle.worker_pid)
            os.kill(handle.worker_pid, signal.SIGSEGV)
            with pytest.raises(ModelUnavailable, match="worker ended"):
                await run
            with pytest.raises(ModelUnavailable, match="reopen"):
                await handle.infer((loop_count(1),))
            assert (await handle.revoke("revoked")).exit_status == -signal.SIGSEGV

    asyncio.run(story())


def test_an_idle_worker_that_dies_is_noticed_without_a_request():
    async def story() -> None:
        async with opened(PlainParts.of(scaling_model(np.ones(4096, np.float32)))) as handle:
            os.kill(handle.worker_pid, signal.SIGKILL)
            await until(lambda: handle.unavailable_because is not None)

    asyncio.run(story())


def test_a_run_beyond_its_deadline_is_refused_and_its_worker_killed():
    async def story() -> None:
        limits = WorkerLimits(run_seconds=0.3)
        async with opened(PlainParts.of(looping_model()), limits=limits) as handle:
            with pytest.raises(DeadlineExceeded):
                await handle.infer((loop_count(LONG_RUN),))
            await until(lambda: process_is_gone(handle.worker_pid))
            assert handle.unavailable_because == "a run exceeded 0.3 s; reopen the model"

    asyncio.run(story())


def test_more_waiting_requests_than_allowed_are_refused_and_a_lost_caller_harms_nobody():
    async def story() -> None:
        limits = WorkerLimits(waiting=1)
        async with opened(PlainParts.of(looping_model()), limits=limits) as handle:
            run = asyncio.create_task(handle.infer((loop_count(200_000),)))
            await busy(handle.worker_pid)
            with pytest.raises(Overloaded):
                await handle.infer((loop_count(1),))
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            async with asyncio.timeout(20):
                while True:
                    try:
                        [output] = await handle.infer((loop_count(1),))
                        break
                    except Overloaded:
                        await asyncio.sleep(0.02)
            assert floats(output).tobytes() == np.eye(64, dtype="<f4").tobytes()

    asyncio.run(story())


def test_a_failure_inside_the_model_is_told_without_its_text_and_the_worker_lives_on():
    def index(value: int) -> Tensor:
        return Tensor("index", Datatype.INT64, (1,), value.to_bytes(8, "little"))

    async def story() -> None:
        async with opened(PlainParts.of(gathering_model())) as handle:
            with pytest.raises(ModelFailed) as refusal:
                await handle.infer((index(99_999),))
            assert "99999" not in str(refusal.value)
            [output] = await handle.infer((index(511),))
            assert floats(output).tolist() == [511.0]

    asyncio.run(story())


def test_an_answer_too_large_for_a_frame_is_refused_and_the_worker_lives_on():
    def column(rows: int) -> Tensor:
        return Tensor("x", Datatype.FP32, (rows, 1), np.ones(rows, "<f4").tobytes())

    async def story() -> None:
        async with opened(PlainParts.of(widening_model(4096))) as handle:
            with pytest.raises(ModelFailed):
                await handle.infer((column((256 << 20) // (4096 * 4) + 1),))
            [output] = await handle.infer((column(1),))
            assert output.shape == (1, 4096)
            huge = Tensor("x", Datatype.FP32, (67_200_000, 1), b"")
            with pytest.raises(InvalidRequest):
                await handle.infer((huge,))
            assert handle.unavailable_because is None

    asyncio.run(story())


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.1])
def test_an_open_that_is_cancelled_leaves_no_worker_and_no_shared_memory(delay: float):
    before = shared_maps()

    async def story() -> None:
        identity, source = ModelIdentity("m", 1, KEY_ID), PlainParts.of(magika_model())
        opening = asyncio.create_task(open_model(identity, source, limits=WorkerLimits()))
        await asyncio.sleep(delay)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert children() == set()

    asyncio.run(story())
    assert shared_maps() == before


def shared_maps() -> int:
    """Plaintext mappings in this process."""
    return Path("/proc/self/maps").read_text(encoding="utf-8").count("memfd:sealward-")


def test_strings_travel_both_ways():
    texts = join_bytes(["grüße".encode(), b"", b"plain"])

    async def story() -> None:
        async with opened(PlainParts.of(echo_strings_model())) as handle:
            [output] = await handle.infer((Tensor("text", Datatype.BYTES, (3,), texts),))
            assert output == Tensor("same", Datatype.BYTES, (3,), texts)

    asyncio.run(story())


@pytest.mark.parametrize("location", ["/etc/passwd", "../../../../etc/passwd", "weights"])
def test_a_model_that_names_files_is_refused_and_leaves_nothing_running(location: str):
    async def story() -> None:
        source = PlainParts({PartName.MODEL: external_path_model(location)})
        with pytest.raises(ModelRefused, match="could not load"):
            await open_model(ModelIdentity("m", 1, KEY_ID), source, limits=WorkerLimits())

    asyncio.run(story())
    assert children() == set()


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({PartName.MODEL: b"not a model at all"}, "could not load"),
        ({PartName.SKELETON: b"x"}, "seal it again"),
        (
            {PartName.SKELETON: b"x", PartName.TENSORS: b"{}", PartName.WEIGHTS: b"w"},
            "tensor table",
        ),
    ],
    ids=["garbage", "missing parts", "bad table"],
)
def test_a_model_that_cannot_be_loaded_is_refused_with_a_reason(
    parts: dict[PartName, bytes], reason: str
):
    async def story() -> None:
        with pytest.raises(ModelRefused, match=reason):
            await open_model(
                ModelIdentity("m", 1, KEY_ID), PlainParts(parts), limits=WorkerLimits()
            )

    asyncio.run(story())
    assert children() == set()


def test_a_graph_that_wants_more_memory_than_allowed_is_a_failed_run_not_a_dead_node():
    async def story() -> None:
        limits = WorkerLimits(private_bytes=128 << 20)
        async with opened(
            PlainParts.of(scaling_model(np.ones(4096, np.float32))), limits=limits
        ) as h:
            rows = 12_000  # 188 MiB in and as much out
            big = Tensor("x", Datatype.FP32, (rows, 4096), bytes(rows * 4096 * 4))
            with pytest.raises((ModelFailed, ModelUnavailable)):
                await h.infer((big,))

    asyncio.run(story())


def children() -> set[int]:
    """Living children of this process."""
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return {int(pid) for pid in text.split() if not process_is_gone(int(pid))}


def test_the_worker_runs_confined_on_every_thread_with_only_its_socket_and_the_shared_pages():
    async def story() -> None:
        async with opened(PlainParts.of(magika_model())) as handle:
            await handle.infer((magika_input(),))
            assert set(handle.measures) == {measure.value for measure in Measure}
            root = Path(f"/proc/{handle.worker_pid}")
            for task in (root / "task").iterdir():
                status = dict(
                    line.split(":\t", 1)
                    for line in (task / "status").read_text(encoding="ascii").splitlines()
                    if ":\t" in line
                )
                assert int(status["CapEff"], 16) == 0
                assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
            if may_look_inside():
                targets = {str(fd.readlink()).split(":")[0] for fd in (root / "fd").iterdir()}
                assert targets == {"/dev/null", "socket", "/memfd"}
                environment = (root / "environ").read_bytes().split(b"\0")
                assert b"ORT_DISABLE_TELEMETRY=1" in environment
                assert not any(entry.startswith(b"HOME=") for entry in environment)

    asyncio.run(story())


def test_a_worker_dies_with_its_agent():
    script = f"""
import asyncio, sys
sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]!r}
from fakes.inference_models import PlainParts, scaling_model
import numpy as np
from sealward.enclave_agent.inference.loader import open_model
from sealward.enclave_agent.inference.worker_client import ModelIdentity, WorkerLimits
async def main():
    source = PlainParts.of(scaling_model(np.ones(4096, np.float32)))
    handle = await open_model(ModelIdentity("m", 1, bytes(32)), source, limits=WorkerLimits())
    print(handle.worker_pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    agent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert agent.stdout is not None
        worker = int(agent.stdout.readline())
        assert not process_is_gone(worker)
    finally:
        agent.kill()
        agent.communicate()
    asyncio.run(until(lambda: process_is_gone(worker)))
