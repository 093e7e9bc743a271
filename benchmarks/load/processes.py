"""Simulated agents as child processes, and the CPU time that processes have used so far."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.load.installation import WORKLOAD, Installation

_ROOT: Final = Path(__file__).resolve().parents[2]
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_STOP_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """One process of simulated agents, ready to work."""

    process: subprocess.Popen[str]

    def go(self) -> None:
        """Let it begin; for agents that watch, let it end."""
        self._pipe().write("go\n")
        self._pipe().flush()

    def result(self) -> dict[str, Any]:
        """Return the JSON record that it ends with; SystemExit when it failed."""
        output, _ = self.process.communicate(timeout=600)
        if self.process.returncode != 0:
            raise SystemExit(f"simulated agents ended with status {self.process.returncode}")
        record: dict[str, Any] = json.loads(output)  # noqa: TID251 - our own process's answer
        return record

    def _pipe(self) -> Any:  # noqa: ANN401 - the text stream that Popen made
        return self.process.stdin


@contextmanager
def fleets(
    installation: Installation, work: str, *options: str, image: str, count: int, agents: int
) -> Iterator[tuple[Fleet, ...]]:
    """Start `count` processes of `agents` each; yield them when every agent holds a lease."""
    command = (
        *(sys.executable, "-m", "benchmarks.load.simulated_agents", work),
        *("--enrollment", installation.enrollment, "--agent", installation.agents),
        *("--trust", str(installation.trust), "--platform", str(installation.platform)),
        *("--image", image, "--workload", WORKLOAD, "--agents", str(agents), *options),
    )
    started = [
        subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    try:
        for process in started:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise SystemExit("simulated agents did not get their leases")
        yield tuple(map(Fleet, started))
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
                process.wait(_STOP_S)


def children(pid: int) -> tuple[int, ...]:
    """Return the pids of a process's children."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return tuple(int(child) for task in tasks for child in (task / "children").read_text().split())


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return user and system time that these processes have used, in steps of 10 ms (proc(5))."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S


def pin(pid: int) -> None:
    """Give a running process the first processor alone: every thread it has or will have.

    As `taskset` at its start: policy workers leave the processor of their parent by themselves.
    """
    first = {min(os.sched_getaffinity(0))}
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), first)
