"""The stage: real processes, their logs, the command line, and the clock that times each step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO, TypeVar, cast

_STOP_SECONDS: Final = 15.0
_COMMAND_SECONDS: Final = 60.0
_LOG_TAIL: Final = 25  # lines of each log shown after a failure

T = TypeVar("T")
Json = dict[str, object]


class WentWrong(Exception):
    """A step of the story was not exactly as told."""


def require(condition: object, what: str) -> None:
    """Fail the step unless `condition` holds."""
    if not condition:
        raise WentWrong(what)


@dataclass(slots=True)
class Process:
    """One real process of the story.

    Attributes:
        name: for logs.
        popen: the process.
        log: its standard error.
        output: its standard output.
    """

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    output: Path

    def kill(self) -> None:
        """End it without a chance to clean up, as a power cut would."""
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        """Ask it to end, wait, and return its exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise WentWrong(f"{self.name} did not stop within {_STOP_SECONDS:.0f} s") from None


@dataclass(slots=True)
class Stage:
    """One folder, its processes, and a steady clock.

    Attributes:
        folder: everything the story writes is below it.
    """

    folder: Path
    _processes: list[Process] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    @property
    def credentials(self) -> Path:
        """The administrator's credentials file."""
        return self.folder / "alice.json"

    def seconds(self) -> float:
        """Return the seconds since the story began."""
        return time.monotonic() - self._started

    @contextmanager
    def step(self, number: int, what: str) -> Iterator[Callable[[str], None]]:
        """Time one step; what is said inside becomes its one line."""
        began = time.monotonic()
        said: list[str] = []
        yield said.append
        details = f": {'; '.join(said)}" if said else ""
        print(f"{number}  {time.monotonic() - began:6.2f} s  {what}{details}", flush=True)

    def start(self, name: str, *command: str) -> Process:
        """Start a console command of ours as a process of its own."""
        output, log = self.folder / f"{name}.out", self.folder / f"{name}.log"
        with output.open("ab") as out, log.open("ab") as err:
            popen = subprocess.Popen(  # noqa: S603 - our own commands
                [_installed(command[0]), *command[1:]],
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env=self._environment(),
                cwd=self.folder,
            )
        process = Process(name, popen, log, output)
        self._processes.append(process)
        return process

    def run(self, *command: str) -> Json:
        """Run a console command with --json and return its answer.

        Raises:
            WentWrong: it exits with anything but 0.
        """
        return cast("Json", self._answer(command))

    def run_list(self, *command: str) -> list[Json]:
        """Run a console command whose answer is a list; raises as `run` does."""
        return cast("list[Json]", self._answer(command))

    def _answer(self, command: tuple[str, ...]) -> object:
        done = self.attempt(*command)
        require(done.returncode == 0, f"{' '.join(command)}: {done.stderr.decode().strip()}")
        return json.loads(done.stdout)  # noqa: TID251 - our own command's answer

    def attempt(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        """Run a console command with --json and return it whatever its exit status."""
        return subprocess.run(  # noqa: S603 - our own commands
            [_installed(command[0]), *command[1:], "--json"],
            capture_output=True,
            check=False,
            timeout=_COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
            env=self._environment(),
            cwd=self.folder,
        )

    def show_logs(self, to: TextIO) -> None:
        """Print the end of every process's log."""
        for process in self._processes:
            tail = process.log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
            print(f"\n--- {process.name}", *tail, sep="\n", file=to)

    def clear(self) -> None:
        """End whatever still runs, agents before the control plane."""
        for process in reversed(self._processes):
            if process.popen.poll() is None:
                process.stop()

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.folder),
            "SEALWARD_CREDENTIALS": str(self.credentials),
        }


def wait_for(what: str, seconds: float, look: Callable[[], T | None]) -> T:
    """Return what `look` finds, looking again until the time is up.

    Raises:
        WentWrong: it never found anything.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.05)
    raise WentWrong(f"{what} did not happen within {seconds:.0f} s")


def _installed(command: str) -> str:
    """Return the console script that is installed beside this interpreter."""
    return str(Path(sysconfig.get_path("scripts")) / command)
