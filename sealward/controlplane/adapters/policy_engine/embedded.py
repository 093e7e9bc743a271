"""The embedded engine: regorus in killable workers, a few for each layer's policy.

Nothing is shared between two layer policies: not an engine, not a worker, not a lock that is held
while anything runs. A policy that hangs costs its own callers one deadline and one worker; after
`kills_before_pause` in a row it is refused at once until `pause_seconds` have passed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from sealward.controlplane.adapters.policy_engine import frames
from sealward.controlplane.adapters.policy_engine.frames import Ask
from sealward.controlplane.adapters.policy_engine.process import Worker, WorkerSettings
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.policy_engine import (
    EngineFault,
    LayerKey,
    LayerPolicy,
    PolicyEngineError,
)
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

# What a policy of each kind must answer (docs/specs/policy-contract.md).
NAMES: Final = {
    PolicyKind.APPRAISAL: ("trust_vector", "reasons"),
    PolicyKind.RELEASE: ("allow", "reasons", "obligations"),
    PolicyKind.ENROLLMENT: ("answer", "labels", "reasons"),
}
_ANSWERS_REMEMBERED: Final = 64  # of at most 256 KiB; compliant nodes all get the same few
_DEADLY: Final = frozenset({EngineFault.TIMEOUT, EngineFault.CRASHED})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How policies are run.

    Attributes:
        deadline_seconds: longest evaluation; a shipped policy takes well under a millisecond.
        load_seconds: longest load of a policy into a fresh worker.
        pool_size: workers of one layer policy, so concurrent evaluations of it.
        max_policies: layer policies kept ready; the least recently used gives way.
        recycle_after: evaluations after which a worker is replaced, so that nothing a policy
            builds up in an engine lives long.
        kills_before_pause: workers in a row that a policy may cost before it is paused.
        pause_seconds: how long it is then refused without being tried.
        worker: limits of each worker.
    """

    deadline_seconds: float = 0.2
    load_seconds: float = 2.0
    pool_size: int = 1
    max_policies: int = 64
    recycle_after: int = 100_000
    kills_before_pause: int = 3
    pause_seconds: float = 30.0
    worker: WorkerSettings = field(default_factory=WorkerSettings)


class EmbeddedEngine:
    """A PolicyEngine. Thread-safe; close it to end its workers."""

    def __init__(self, settings: EngineSettings, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._pools: OrderedDict[LayerKey, _Pool] = OrderedDict()

    def evaluate(self, policy: LayerPolicy, document: bytes, reference: bytes = b"{}") -> bytes:
        """Return the policy's answer as canonical JSON; see the port.

        Raises:
            PolicyEngineError: there is no answer.
        """
        raw = self._pool(policy).evaluate(b'{"input":%b,"reference":%b}' % (document, reference))
        return _rewritten(raw)

    def prepare(self, policy: LayerPolicy) -> None:
        """Start and load one worker for `policy` now, so that its first decision need not.

        Raises:
            PolicyEngineError: it cannot be loaded.
        """
        self._pool(policy).prepare()

    def retire(self, policy: LayerPolicy) -> None:
        """End the workers of `policy`; an evaluation that is under way still answers."""
        with self._lock:
            pool = self._pools.pop(policy.key, None)
        if pool is not None:
            pool.close()

    def close(self) -> None:
        """End every worker."""
        with self._lock:
            pools = tuple(self._pools.values())
            self._pools.clear()
        for pool in pools:
            pool.close()

    def _pool(self, policy: LayerPolicy) -> _Pool:
        with self._lock:
            pool = self._pools.get(policy.key)
            if pool is None:
                pool = self._pools[policy.key] = _Pool(policy, self._settings, self._monotonic)
            self._pools.move_to_end(policy.key)
            surplus = len(self._pools) - self._settings.max_policies
            retired = [self._pools.popitem(last=False)[1] for _ in range(max(0, surplus))]
        for old in retired:
            old.close()
        return pool


class _Pool:
    """The workers of one layer policy, and the memory of how many it has killed."""

    def __init__(
        self, policy: LayerPolicy, settings: EngineSettings, monotonic: Callable[[], float]
    ) -> None:
        self._load = load_request(policy)
        self._settings = settings
        self._monotonic = monotonic
        self._places = _Places(settings.pool_size)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._closed = False
        self._kills = 0
        self._paused_until: float | None = None

    def evaluate(self, request: bytes) -> bytes:
        with self._place(self._settings.deadline_seconds):
            worker = self._take()
            try:
                value = worker.ask(Ask.EVALUATE, request, seconds=self._settings.deadline_seconds)
            except PolicyEngineError as error:
                self._after(worker, error.fault)
                raise
            except BaseException:
                worker.kill()  # half an exchange: whatever it answers next belongs to nobody
                raise
            self._after(worker, None)
            return value

    def prepare(self) -> None:
        with self._place(self._settings.load_seconds):
            self._give_back(self._take())

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    @contextmanager
    def _place(self, seconds: float) -> Iterator[None]:
        """Hold one of the pool's places; the pause is asked before and after the wait."""
        self._refuse_paused()
        if not self._places.acquire(seconds):
            raise PolicyEngineError(EngineFault.BUSY, "every worker of this policy is taken")
        try:
            self._refuse_paused()
            yield
        finally:
            self._places.release()

    def _refuse_paused(self) -> None:
        with self._lock:
            if self._paused_until is None:
                return
            left = self._paused_until - self._monotonic()
            if left > 0:
                raise PolicyEngineError(
                    EngineFault.BUSY,
                    f"it ended {self._kills} workers in a row; tried again in {left:.0f} s",
                )
            self._paused_until = None  # one try; a further kill pauses it again

    def _take(self) -> Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            worker = Worker(self._settings.worker)
        except OSError as error:  # no process or descriptor left on this host
            raise PolicyEngineError(
                EngineFault.BUSY, f"no worker could be started: {error}"
            ) from None
        try:
            worker.ask(Ask.LOAD, self._load, seconds=self._settings.load_seconds)
        except PolicyEngineError as error:
            worker.kill()
            self._count(error.fault)
            raise
        return worker

    def _after(self, worker: Worker, fault: EngineFault | None) -> None:
        self._count(fault)
        if fault in _DEADLY:
            return  # the worker is dead already
        if worker.answers > self._settings.recycle_after:
            worker.kill()
        else:
            self._give_back(worker)

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(worker)
                return
        worker.kill()

    def _count(self, fault: EngineFault | None) -> None:
        with self._lock:
            self._kills = self._kills + 1 if fault in _DEADLY else 0
            if self._kills >= self._settings.kills_before_pause:
                self._paused_until = self._monotonic() + self._settings.pause_seconds


class _Places:
    """A semaphore that serves callers in the order in which they came.

    threading.Semaphore lets the thread that just released win again: under load one caller could
    keep all others waiting for longer than their deadline.
    """

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._free = size
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, seconds: float) -> bool:
        """Take a place within `seconds`; False when none came free."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=seconds):
            return True
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return False
        return True  # handed over in the instant of giving up

    def release(self) -> None:
        """Hand the place to whoever has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


@lru_cache(maxsize=_ANSWERS_REMEMBERED)
def _rewritten(raw: bytes) -> bytes:
    """Return an answer as canonical JSON, which the same bytes always have in common.

    Done here and not in the worker: the worker is where a policy could lie.

    Raises:
        PolicyEngineError: it has none.
    """
    try:
        value = json.decode(raw, what="policy answer", max_bytes=frames.MAX_ANSWER_BYTES)
        return json.canonical(value)  # type: ignore[arg-type]  # floats raise TypeError
    except MalformedEvidence as error:
        raise PolicyEngineError(EngineFault.ERROR, error.detail) from None
    except (TypeError, ValueError) as error:
        raise PolicyEngineError(EngineFault.ERROR, f"policy answer: {error}") from None


def load_request(policy: LayerPolicy, *, with_tests: bool = False) -> bytes:
    """Return the body of the LOAD request for `policy`; tests are left out of decisions."""
    return json.canonical(
        {
            "modules": {
                module.path: module.text
                for module in policy.bundle.modules
                if with_tests or not module.is_test
            },
            "data": policy.bundle.data.decode(),
            "root": policy.package,
            "names": list(NAMES[policy.kind]),
        }
    )
