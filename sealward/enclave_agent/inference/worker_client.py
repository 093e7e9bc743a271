"""The agent's handle of one sealed model: it runs inferences and takes the model back.

Taking back, in this order, without yielding to any other task until step 5:

1. the model stops accepting;
2. its epoch moves, so that a run in flight releases no output;
3. the plaintext is zeroed in the shared pages, under the live session, even if the worker hangs;
4. the worker is killed with SIGKILL;
5. its exit is awaited, our mappings are closed, and a `WipeReport` says what was done.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.inference import frames
from sealward.enclave_agent.inference.errors import (
    DeadlineExceeded,
    Fault,
    InvalidRequest,
    ModelFailed,
    ModelUnavailable,
    Overloaded,
)
from sealward.enclave_agent.inference.frames import Frame, Kind, MalformedFrame
from sealward.enclave_agent.inference.worker_process import WorkerGone, WorkerProcess

if TYPE_CHECKING:
    from sealward.enclave_agent.inference.memory import SharedPlaintext
    from sealward.enclave_agent.inference.signature import Signature
    from sealward.enclave_agent.inference.tensors import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What one worker may take.

    Attributes:
        load_seconds: from the start of the process to its load answer.
        run_seconds: one inference; a worker that exceeds it is killed.
        exit_seconds: how long a killed worker is waited for before the report says so.
        waiting: requests that may wait for the model or be in it.
        threads: intra-op threads of onnxruntime.
        private_bytes: heap and private mappings beyond twice the plaintext, which onnxruntime
            copies while it loads.
    """

    load_seconds: float = 120.0
    run_seconds: float = 30.0
    exit_seconds: float = 5.0
    waiting: int = 32
    threads: int = 1
    private_bytes: int = 2 << 30


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which sealed model version this is.

    Attributes:
        name: the model's name, as clients say it.
        version: monotone version of the sealed file.
        key_id: id of the content key that opened it (docs/specs/wipe-statement.md item 1).
    """

    name: str
    version: int
    key_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WipeReport:
    """What was done to one model when it was taken back: a statement, not a proof (F3).

    Attributes:
        model: which.
        reason: why, as clients are told.
        worker_pid: the process that ran it.
        exit_status: negative for a signal; None while the kernel has not ended it.
        bytes_wiped: plaintext bytes overwritten in place.
        cannot_be_known: what this agent cannot vouch for, in words.
    """

    model: ModelIdentity
    reason: str
    worker_pid: int
    exit_status: int | None
    bytes_wiped: int
    cannot_be_known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadedWorker:
    """A worker that has answered its load order, and the pages it shares with us."""

    process: WorkerProcess
    plaintext: tuple[SharedPlaintext, ...] = field(repr=False)
    signature: Signature
    measures: tuple[str, ...]
    engine: str


class SealedModelHandle:
    """One sealed model version in its worker. All methods run on the event loop.

    Attributes:
        identity: which model.
        signature: its inputs and outputs.
        measures: the isolation its worker reported, by name.
        engine: what runs it.
    """

    def __init__(self, identity: ModelIdentity, worker: LoadedWorker, limits: WorkerLimits) -> None:
        self.identity: Final = identity
        self.signature: Final = worker.signature
        self.measures: Final = worker.measures
        self.engine: Final = worker.engine
        self._worker = worker
        self._limits = limits
        self._lock = asyncio.Lock()
        self._epoch = 0
        self._wiped = 0
        self._ended_because: str | None = None
        self._runs: set[asyncio.Task[tuple[Tensor, ...]]] = set()
        self._exit = asyncio.create_task(self._watch())

    @property
    def unavailable_because(self) -> str | None:
        """Why the model does not serve, or None while it does."""
        return self._ended_because

    @property
    def worker_pid(self) -> int:
        """Process id of the worker, alive or not."""
        return self._worker.process.pid

    async def infer(
        self, inputs: tuple[Tensor, ...], outputs: tuple[str, ...] = ()
    ) -> tuple[Tensor, ...]:
        """Run the model; `outputs` empty means all.

        A caller that goes away does not disturb the worker: its run ends and is thrown away.

        Raises:
            InvalidRequest: the inputs are not the model's; the worker was not asked.
            Overloaded: too many wait already.
            ModelUnavailable: the model ended, before or during the run.
            DeadlineExceeded: the run took too long; the model is unavailable from now on.
            ModelFailed: onnxruntime failed on these inputs.
        """
        self._refuse_if_ended()
        self.signature.check_inputs(inputs)
        names = self.signature.select_outputs(outputs)
        if not frames.fits(inputs):
            raise InvalidRequest(Fault.TOO_LARGE, "the inputs are larger than a frame")
        if len(self._runs) >= self._limits.waiting:
            raise Overloaded(f"{len(self._runs)} requests wait for model '{self.identity.name}'")
        epoch = self._epoch
        run = asyncio.create_task(self._run(inputs, names))
        self._runs.add(run)  # counts as waiting from here on, and holds the task
        run.add_done_callback(self._forget)
        results = await asyncio.shield(run)
        if self._epoch != epoch:  # ended between the answer and here: the outputs may be zeros
            self._refuse_if_ended()
        return results

    async def revoke(self, reason: str) -> WipeReport:
        """Take the model back, as the module says. Idempotent: the first reason stays.

        The report is about now: a second call may know an exit status that the first did not.
        """
        self._end(reason)
        status: int | None = None
        with suppress(TimeoutError):
            status = await asyncio.wait_for(
                asyncio.shield(self._exit), timeout=self._limits.exit_seconds
            )
        for part in self._worker.plaintext:
            part.close()
        return WipeReport(
            model=self.identity,
            reason=self._ended_because or reason,
            worker_pid=self.worker_pid,
            exit_status=status,
            bytes_wiped=self._wiped,
            cannot_be_known=self._unknowns(status),
        )

    def _end(self, reason: str) -> None:
        if self._ended_because is not None:
            return
        self._ended_because = reason
        self._epoch += 1
        self._wiped = sum(part.wipe() for part in self._worker.plaintext)
        self._worker.process.kill()

    async def _watch(self) -> int:
        status = await self._worker.process.wait()
        self._end(f"worker ended with status {status}; reopen the model")
        return status

    async def _run(self, inputs: tuple[Tensor, ...], names: tuple[str, ...]) -> tuple[Tensor, ...]:
        async with self._lock:
            self._refuse_if_ended()
            frame = await self._exchange(inputs, names)
        if frame.kind is Kind.FAILED:
            raise ModelFailed("the model failed on these inputs")
        try:
            return self._checked(frame, names)
        except MalformedFrame as error:
            self._end(f"worker broke the protocol ({error}); reopen the model")
            raise ModelUnavailable(self._ended_because or "") from error

    async def _exchange(self, inputs: tuple[Tensor, ...], names: tuple[str, ...]) -> Frame:
        pieces = frames.encode(
            Kind.INFER,
            {"tensors": frames.describe(inputs), "outputs": list(names)},
            [tensor.data for tensor in inputs],
        )
        seconds = self._limits.run_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._worker.process.exchange(pieces)
        except TimeoutError:
            self._end(f"a run exceeded {seconds:g} s; reopen the model")
            raise DeadlineExceeded(f"the run exceeded {seconds:g} s") from None
        except MalformedFrame as error:
            self._end(f"worker broke the protocol ({error}); reopen the model")
        except WorkerGone:
            self._end("worker ended during a run; reopen the model")
        raise ModelUnavailable(self._ended_because or "")

    def _checked(self, frame: Frame, names: tuple[str, ...]) -> tuple[Tensor, ...]:
        if frame.kind is not Kind.RESULT:
            raise MalformedFrame(f"a {frame.kind} frame instead of a result")
        results = frames.tensors(frame)
        specs = {spec.name: spec for spec in self.signature.outputs}
        if tuple(tensor.name for tensor in results) != names:
            raise MalformedFrame("other outputs than asked for")
        for tensor in results:
            if tensor.datatype is not specs[tensor.name].datatype:
                raise MalformedFrame("an output of another type than the model's")
        return results

    def _refuse_if_ended(self) -> None:
        if self._ended_because is not None:
            raise ModelUnavailable(self._ended_because)

    def _forget(self, run: asyncio.Task[tuple[Tensor, ...]]) -> None:
        self._runs.discard(run)
        if not run.cancelled():
            run.exception()  # retrieved, so that an abandoned run is not reported as unhandled

    def _unknowns(self, status: int | None) -> tuple[str, ...]:
        unknowns = [
            "copies made by code in the worker, had it been compromised before the wipe",
            "when the kernel overwrites the freed private memory of the ended worker",
            "inputs and outputs of past requests in freed memory of the agent",
        ]
        if not all(part.locked for part in self._worker.plaintext):
            unknowns.append("whether pages were swapped out: mlock was refused (RLIMIT_MEMLOCK)")
        if status is None:
            unknowns.append("when the killed worker ends: the kernel had not ended it in time")
        return tuple(unknowns)
