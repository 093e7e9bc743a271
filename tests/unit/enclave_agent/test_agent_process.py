"""`sealward-agent` as a process: real TLS, a real sealed model in a real worker, real signals."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

from fakes.agent_process import (
    KEY,
    PATIENCE_S,
    PROGRAM,
    command,
    new_plane,
    running,
    serves,
    write_settings,
)
from fakes.agent_stage import free_port
from fakes.fake_control_plane import Plane

from sealward.protos.wipe import WipeCause


def test_runs_serves_tells_its_status_and_wipes_on_sigterm(tmp_path: Path) -> None:
    """The whole life of one process, from settings to a recorded wipe statement."""

    async def body() -> None:
        plane = new_plane()
        await plane.start()
        port = free_port()
        config = write_settings(tmp_path, plane, port=port)
        async with running(config, tmp_path) as process:
            await serves(plane, port)
            told = await asyncio.to_thread(
                command, tmp_path, "status", "--config", str(config), "--json"
            )
            status = json.loads(told.stdout)  # noqa: TID251 - our own program's output
            assert status["state"] == "compliant"
            assert status["models"] == [
                {"name": "demo", "version": 1, "state": "READY", "reason": ""}
            ]
            text = await asyncio.to_thread(command, tmp_path, "status", "--config", str(config))
            assert "state          compliant" in text.stdout
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        lines = (tmp_path / "agent.log").read_text().splitlines()
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


def test_a_process_whose_clock_goes_back_wipes_and_ends_with_the_reason(tmp_path: Path) -> None:
    """A program that turns its own boot-time clock back stands for a kernel that does."""
    flag = tmp_path / "turned-back"
    set_back = (
        "import os, time; real = time.clock_gettime_ns\n"
        "time.clock_gettime_ns = lambda clock: real(clock) - "
        f"(3_600 * 10**9 if clock == time.CLOCK_BOOTTIME and os.path.exists({str(flag)!r}) else 0)"
    )
    program = (*PROGRAM[:-1], f"{set_back}\n{PROGRAM[-1]}")

    async def body() -> None:
        plane, port = new_plane(), free_port()
        await plane.start()
        async with running(
            write_settings(tmp_path, plane, port=port), tmp_path, program
        ) as process:
            await serves(plane, port)
            flag.touch()
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 1
        await plane.stop()
        assert [statement.cause for statement in plane.wiped] == [WipeCause.HORIZON]

    asyncio.run(body())
    last = (tmp_path / "agent.log").read_text().splitlines()[-1]
    assert last.startswith("sealward-agent: the boot-time clock went back by 35")
    assert last.endswith("Every lease was ended and wiped; start the agent anew.")


def test_refuses_to_run_without_a_trust_configuration(tmp_path: Path) -> None:
    config = write_settings(tmp_path, Plane())
    (tmp_path / "trust.json").unlink()
    done = command(tmp_path, "run", "--config", str(config))
    assert done.returncode == 2
    assert "no trust on first use" in done.stderr


def test_says_every_mistake_of_the_settings(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("colour = 1\n")
    done = command(tmp_path, "run", "--config", str(config))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) > 5
    assert "Traceback" not in done.stderr


def test_probe_says_what_the_machine_can_prove(tmp_path: Path) -> None:
    listed = command(tmp_path, "probe")
    assert listed.returncode == 0
    assert "clock source" in listed.stdout
    config = write_settings(tmp_path, Plane())
    good = command(tmp_path, "probe", "--config", str(config))
    assert (good.returncode, "quoting        available" in good.stdout) == (0, True)
    config = write_settings(tmp_path, Plane(), attester="broken = true")
    bad = command(tmp_path, "probe", "--config", str(config))
    assert (bad.returncode, "not available" in bad.stdout) == (1, True)


def test_status_without_an_agent_says_so(tmp_path: Path) -> None:
    config = write_settings(tmp_path, Plane(), port=free_port())
    done = command(tmp_path, "status", "--config", str(config))
    assert done.returncode == 1
    assert "no agent answers" in done.stderr
    assert "Traceback" not in done.stderr
