"""Starting, talking to and ending one worker process, seen from the agent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sealward
from sealward.enclave_agent.inference import frames, worker

if TYPE_CHECKING:
    from sealward.enclave_agent.inference.frames import Frame

_STREAM_BUFFER: Final = 1 << 20  # asyncio's 64 KiB would pause the transport at every tensor


class WorkerGone(Exception):
    """The worker closed its end or was killed; it answers nothing any more."""


class WorkerProcess:
    """A running worker.

    Attributes:
        pid: its process id.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self.pid: Final = process.pid
        try:
            self._pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:  # it ended and was reaped in this instant
            self._pidfd = -1

    @classmethod
    async def start(cls, shared_fds: tuple[int, ...]) -> WorkerProcess:
        """Start a worker that inherits `shared_fds` under the same numbers and nothing else.

        Call it on the event loop's own thread: the kernel ends the worker when the *thread* that
        started it ends.

        Raises:
            OSError: no process or socket could be made.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            # The streams come first: nothing may fail or be cancelled once a process runs that
            # nobody holds yet. `create_subprocess_exec` itself ends what it was cancelled on.
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_STREAM_BUFFER)
            try:
                process = await asyncio.create_subprocess_exec(
                    *_command(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    # Not a log: onnxruntime and tracebacks quote tensor names and values. What
                    # stops a worker is told over the socket.
                    stderr=asyncio.subprocess.DEVNULL,
                    env=_environment(),
                    pass_fds=(theirs.fileno(), *shared_fds),
                    start_new_session=True,
                )
            except BaseException:
                writer.close()
                raise
        return cls(process, reader, writer)

    async def exchange(self, pieces: list[bytes]) -> Frame:
        """Send one frame and return the answer. One exchange at a time; the caller sees to it.

        Raises:
            WorkerGone: the worker ended before it had answered.
            MalformedFrame: it answered something else than a frame.
        """
        try:
            self._writer.writelines(pieces)
            await self._writer.drain()
            prefix = await self._reader.readexactly(frames.PREFIX_BYTES)
            header_bytes, body_bytes = frames.read_prefix(prefix)
            header = await self._reader.readexactly(header_bytes)
            return frames.read_header(header, await self._reader.readexactly(body_bytes))
        except (OSError, EOFError) as error:  # EOFError: asyncio.IncompleteReadError
            raise WorkerGone from error

    def kill(self) -> None:
        """End the process at once. Idempotent."""
        # Not Process.kill: it polls, and so may reap the process before asyncio's watcher does,
        # which then reports status 255. Not os.kill: the number may be another's by now.
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._writer.close()

    async def wait(self) -> int:
        """Return the exit status once the process is reaped; a negative one is a signal."""
        status = await self._process.wait()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        return status


def _command(control_fd: int) -> tuple[str, ...]:
    # -P and -s: no import from the working directory or the user's site. Not -I, which would also
    # drop PYTHONMALLOC. -B: bytecode of whatever was imported is nothing to leave on a disk.
    flags = ("-P", "-s", "-B")
    return (sys.executable, *flags, "-m", worker.__name__, str(control_fd), str(os.getpid()))


def _environment() -> dict[str, str]:
    return {
        worker.TELEMETRY_SWITCH: "1",
        # pymalloc's arenas are beyond the reach of mallopt(M_PERTURB).
        "PYTHONMALLOC": "malloc",
        # The worker runs the very package that the agent runs, wherever it was imported from.
        "PYTHONPATH": str(Path(sealward.__file__).resolve().parents[1]),
        "OPENBLAS_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }
