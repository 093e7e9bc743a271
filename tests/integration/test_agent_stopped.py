"""`sealward-agent` as a process that is stopped and continued: time went on, it did not."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

import httpx
import pytest
from fakes import half_open
from fakes.agent_process import PATIENCE_S, ask, command, new_plane, running, serves, write_settings
from fakes.agent_stage import free_port

from sealward.enclave_agent.runtime import ABSENT_NS
from sealward.protos.wipe import WipeCause

pytestmark = pytest.mark.integration

TTL_S = 3.0
STOPPED_S = ABSENT_NS / 1e9 + 1.0
KEEPALIVE_S = 30.0  # interval and timeout in enclave_agent/transport.py, together


def test_a_process_that_was_stopped_answers_nothing_past_its_horizon(tmp_path: Path) -> None:
    """Requests that waited in its sockets are refused; it wipes, connects and attests anew.

    Its stream died meanwhile and nobody told it, as when a machine sleeps. It does not wait to find
    out: the keepalive of its transport would take half a minute.
    """

    async def body() -> None:
        plane, port = new_plane(ttl_ms=int(TTL_S * 1_000)), free_port()
        await plane.start()
        config = write_settings(tmp_path, plane, port=port)
        async with (
            half_open.wire(plane.agent_port) as wire,
            httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
        ):
            settings = config.read_text().replace(str(plane.agent_port), str(wire.port))
            config.write_text(settings)
            async with running(config, tmp_path) as process:
                await serves(plane, port)
                assert (wire.carried, len(plane.hellos)) == (1, 1)
                process.send_signal(signal.SIGSTOP)
                waiting = [asyncio.create_task(ask(plane, port, client)) for _ in range(8)]
                await asyncio.sleep(STOPPED_S)
                assert not any(task.done() for task in waiting)
                wire.cut()
                plane.refuse_attest = "posture_noncompliant"  # no lease before they are answered
                process.send_signal(signal.SIGCONT)
                woke = time.monotonic()
                answers = await asyncio.gather(*waiting)
                assert [answer.status_code for answer in answers] == [503] * 8
                assert {answer.json()["code"] for answer in answers} == {"lease_expired"}
                plane.refuse_attest = ""
                await serves(plane, port)
                assert time.monotonic() - woke < KEEPALIVE_S
                assert (wire.carried, len(plane.hellos)) == (2, 2)
                assert await told(client, port) >= STOPPED_S * 1_000
                shown = await asyncio.to_thread(
                    command, tmp_path, "status", "--config", str(config)
                )
                assert "\nlast_absence   lasted_ms=" in shown.stdout
                process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        await plane.stop()
        assert plane.wiped[0].cause is WipeCause.HORIZON
        assert plane.problems == []

    asyncio.run(body())
    lines = (tmp_path / "agent.log").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]  # noqa: TID251 - our own program's output
    assert "did not run for a while; connecting and attesting anew" in events


async def told(client: httpx.AsyncClient, port: int) -> int:
    """Return how long the agent says that it was absent, milliseconds."""
    status = (await client.get(f"http://127.0.0.1:{port}/v1/status")).json()
    lasted: int = status["last_absence"]["lasted_ms"]
    return lasted
