"""The parent's end of one policy worker: start, ask with a deadline, kill."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sealward
from sealward.controlplane.adapters.policy_engine import frames
from sealward.controlplane.adapters.policy_engine.frames import Answer, Ask
from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError

_ROOT: Final = str(Path(sealward.__file__).resolve().parents[1])
# `-I` keeps the environment, the user's site and the working folder out; the folder of this very
# package is named, so that parent and worker are the same code whether installed or not. The memory
# limit comes before the engine is even imported: its allocator reserves 1 GiB of addresses when it
# may, and a limit set later would leave nothing to everybody else.
_START: Final = (
    "import resource, sys; "
    "resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2); "
    "sys.path.append(sys.argv[1]); "
    "from sealward.controlplane.adapters.policy_engine.worker import main; "
    "sys.exit(main())"
)
MAX_DETAIL_CHARACTERS: Final = 512  # goes into reasons and so into the audit log
_READ_AT_ONCE: Final = 4096  # Python allocates what is asked for; an answer is a few hundred bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How one worker may live.

    Attributes:
        address_space: bytes of virtual memory.
        start_seconds: longest start, from process creation to its hello.
    """

    address_space: int = 1 << 30
    start_seconds: float = 10.0  # imports on a busy machine; not on the path of a decision


class Worker:
    """One running worker. Not thread-safe: whoever holds it asks, then gives it back.

    Deadlines are measured on the real monotonic clock, as the thing waited for is a process.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-I", "-B", "-c", _START, _ROOT, str(settings.address_space)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            close_fds=True,
            cwd="/",
            env={},
            start_new_session=True,  # a Ctrl-C at the terminal is the control plane's business
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both were asked for")
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._readable = select.poll()
        self._readable.register(self._out, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(self._in, select.POLLOUT)
        self.answers = 0
        self._hello(settings)

    @property
    def pid(self) -> int:
        """Process id, for tests and logs."""
        return self._process.pid

    def ask(self, kind: Ask, body: bytes, *, seconds: float) -> bytes:
        """Return the value that the worker answers within `seconds`.

        Raises:
            PolicyEngineError: any other outcome. After TIMEOUT and CRASHED the worker is dead.
        """
        deadline = time.monotonic() + seconds
        try:
            self._write(frames.pack(kind, body), deadline)
            answer, value = self._read(deadline)
        except PolicyEngineError:
            self.kill()
            raise
        self.answers += 1
        if answer == Answer.VALUE:
            return value
        detail = value.decode("utf-8", "replace")[:MAX_DETAIL_CHARACTERS]
        if answer == Answer.UNDEFINED:
            raise PolicyEngineError(EngineFault.UNDEFINED, f"no value for {detail}")
        raise PolicyEngineError(EngineFault.ERROR, detail)

    def kill(self) -> None:
        """End the process at once and reap it; harmless when it is gone already."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _hello(self, settings: WorkerSettings) -> None:
        try:
            kind, body = self._read(time.monotonic() + settings.start_seconds)
        except PolicyEngineError:
            self.kill()
            raise
        missing = body.decode("utf-8", "replace")  # canonical JSON: [] when nothing is
        if kind != Answer.HELLO or missing != "[]":
            self.kill()
            raise PolicyEngineError(
                EngineFault.ERROR, f"a policy worker cannot be confined on this host: {missing}"
            )

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._in, view) :]
            except BlockingIOError:
                self._wait(self._writable, deadline)
            except BrokenPipeError:
                raise self._crashed() from None

    def _read(self, deadline: float) -> tuple[int, bytes]:
        data = bytearray()
        size = frames.LENGTH_BYTES
        while len(data) < size or size == frames.LENGTH_BYTES:
            self._wait(self._readable, deadline)
            more = os.read(self._out, _READ_AT_ONCE)
            if not more:
                raise self._crashed()
            data += more
            if size == frames.LENGTH_BYTES and len(data) >= size:
                length = int.from_bytes(data[:size], "big")
                if not 1 <= length <= frames.MAX_ANSWER_BYTES:
                    raise PolicyEngineError(EngineFault.CRASHED, "the worker's answer is no frame")
                size += length
        if len(data) > size:
            raise PolicyEngineError(EngineFault.CRASHED, "the worker answered twice")
        return data[frames.LENGTH_BYTES], bytes(data[frames.LENGTH_BYTES + 1 :])

    def _wait(self, pipe: select.poll, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not pipe.poll(left * 1000):
            raise PolicyEngineError(
                EngineFault.TIMEOUT, "no answer within the deadline; the worker was killed"
            )

    def _crashed(self) -> PolicyEngineError:
        """Describe how the worker ended; its pipes are closed, so it has ended or is about to."""
        self._process.kill()
        status = self._process.wait()
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return PolicyEngineError(EngineFault.CRASHED, f"the worker ended: {how}")
