"""`sealward-agent` as a process: real TLS, a real sealed model in a real worker, real signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from fakes.agent_models import sealed_model
from fakes.agent_stage import free_port
from fakes.fake_control_plane import Plane
from fakes.inference_models import scaling_model

from sealward.protos.wipe import WipeCause

ROOT = Path(__file__).resolve().parents[3]
FILE, TERMS, KEY = sealed_model(scaling_model(np.array([[2.0, 3.0]], np.float32)))
PATIENCE_S = 60


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


def agent(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-c", "from sealward.enclave_agent.cli import main; main()", *arguments],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_runs_serves_tells_its_status_and_wipes_on_sigterm(tmp_path: Path) -> None:
    """The whole life of one process, from settings to a recorded wipe statement."""

    async def body() -> None:
        plane = Plane(models={"scoring": (TERMS,)}, content_keys={TERMS.content_key_id: KEY})
        await plane.start()
        port = free_port()
        config = write_settings(tmp_path, plane, port=port)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from sealward.enclave_agent.cli import main; main()",
            "run",
            "--config",
            str(config),
            env=environment(tmp_path),
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        log = asyncio.create_task(process.stderr.read())
        try:
            await serves(plane, port)
            told = await asyncio.to_thread(
                agent, tmp_path, "status", "--config", str(config), "--json"
            )
            status = json.loads(told.stdout)  # noqa: TID251 - our own program's output
            assert status["state"] == "compliant"
            assert status["models"] == [
                {"name": "demo", "version": 1, "state": "READY", "reason": ""}
            ]
            text = await asyncio.to_thread(agent, tmp_path, "status", "--config", str(config))
            assert "state          compliant" in text.stdout
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            lines = (await log).decode().splitlines()
            await plane.stop()
        (statement,) = plane.wiped
        assert statement.cause is WipeCause.SHUTDOWN
        (item,) = statement.items
        assert item.exit_status == -signal.SIGKILL
        assert item.weight_bytes > 0
        records = [json.loads(line) for line in lines]  # noqa: TID251 - our own program's output
        assert records[-1]["event"] == "agent ended"
        assert KEY.hex() not in "".join(lines)

    asyncio.run(body())


async def serves(plane: Plane, port: int) -> None:
    """Ask until the model answers what the plain model would."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 1.0]}
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(PATIENCE_S * 20):
            try:
                answer = await client.post(
                    f"http://127.0.0.1:{port}/v2/models/demo/infer",
                    json={"inputs": [tensor]},
                    headers={"authorization": f"Bearer {plane.client_token('scoring')}"},
                )
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                assert answer.json()["outputs"][0]["data"] == [2.0, 3.0]
                return
            await asyncio.sleep(0.05)
    pytest.fail("the agent never served")


def test_refuses_to_run_without_a_trust_configuration(tmp_path: Path) -> None:
    config = write_settings(tmp_path, Plane())
    (tmp_path / "trust.json").unlink()
    done = agent(tmp_path, "run", "--config", str(config))
    assert done.returncode == 2
    assert "no trust on first use" in done.stderr


def test_says_every_mistake_of_the_settings(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("colour = 1\n")
    done = agent(tmp_path, "run", "--config", str(config))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) > 5
    assert "Traceback" not in done.stderr


def test_probe_says_what_the_machine_can_prove(tmp_path: Path) -> None:
    listed = agent(tmp_path, "probe")
    assert listed.returncode == 0
    assert "clock source" in listed.stdout
    config = write_settings(tmp_path, Plane())
    good = agent(tmp_path, "probe", "--config", str(config))
    assert (good.returncode, "quoting        available" in good.stdout) == (0, True)
    config = write_settings(tmp_path, Plane(), attester="broken = true")
    bad = agent(tmp_path, "probe", "--config", str(config))
    assert (bad.returncode, "not available" in bad.stdout) == (1, True)


def test_status_without_an_agent_says_so(tmp_path: Path) -> None:
    config = write_settings(tmp_path, Plane(), port=free_port())
    done = agent(tmp_path, "status", "--config", str(config))
    assert done.returncode == 1
    assert "no agent answers" in done.stderr
    assert "Traceback" not in done.stderr
