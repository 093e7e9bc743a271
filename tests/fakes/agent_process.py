"""What `sealward-agent` needs to run as a process: settings, trust, a sealed model, an attester."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from fakes.agent_models import sealed_model
from fakes.fake_control_plane import Plane
from fakes.inference_models import scaling_model

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-c", "from sealward.enclave_agent.cli import main; main()")
FILE, TERMS, KEY = sealed_model(scaling_model(np.array([[2.0, 3.0]], np.float32)))
PATIENCE_S = 60


def new_plane(ttl_ms: int = 60_000) -> Plane:
    """A control plane that leases the model."""
    return Plane(
        ttl_ms=ttl_ms, models={"scoring": (TERMS,)}, content_keys={TERMS.content_key_id: KEY}
    )


def write_settings(folder: Path, plane: Plane, *, port: int = 8500, attester: str = "") -> Path:
    """Everything an agent of this plane needs, with one sealed model."""
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "demo").write_bytes(FILE)
    (folder / "trust.json").write_bytes(plane.trust.encode())
    # An attester is found by its entry point: install the tests' one, on the path, as metadata.
    info = folder / "quoting_attester-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: quoting-attester\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[sealward.attesters]\nquoting = fakes.agent_models:quoting\n"
    )
    config = folder / "agent.toml"
    config.write_text(
        f"""
workloads = ["scoring"]
trust_file = "trust.json"
models = "models"
[control_plane]
enrollment = "127.0.0.1:{plane.enrollment_port or 1}"
agent = "127.0.0.1:{plane.agent_port or 1}"
[attester]
name = "quoting"
{attester}
[inference]
listen = "127.0.0.1:{port}"
"""
    )
    return config


def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join(str(part) for part in (ROOT, ROOT / "tests", folder))
    return {"PYTHONPATH": path, "PATH": os.environ["PATH"]}


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


async def ask(plane: Plane, port: int, client: httpx.AsyncClient) -> httpx.Response:
    """Ask for one inference."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 1.0]}
    return await client.post(
        f"http://127.0.0.1:{port}/v2/models/demo/infer",
        json={"inputs": [tensor]},
        headers={"authorization": f"Bearer {plane.client_token('scoring')}"},
    )


async def serves(plane: Plane, port: int) -> None:
    """Ask until the model answers what the plain model would."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(PATIENCE_S * 20):
            try:
                answer = await ask(plane, port, client)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == httpx.codes.OK:
                assert answer.json()["outputs"][0]["data"] == [2.0, 3.0]
                return
            await asyncio.sleep(0.05)
    pytest.fail("the agent never served")


@asynccontextmanager
async def running(
    config: Path, folder: Path, program: tuple[str, ...] = PROGRAM
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an agent as a process of its own; its log goes to `agent.log` in `folder`."""
    with (folder / "agent.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *program, "run", "--config", str(config), env=environment(folder), stderr=log
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
