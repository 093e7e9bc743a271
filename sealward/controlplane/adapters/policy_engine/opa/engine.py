"""The OPA engine: each layer's policy mounted on the operator's OPA server, and asked there.

The server is trusted to evaluate and with nothing else. Before a policy is used, the server shows
that it holds what was sent and that nothing in it reaches outside; every answer names the mount
that it comes from. What is not the answer of that policy is a PolicyEngineError, as with the
embedded engine. An evaluation on the server ends, at best, when its connection does: a caller is
held for its deadline, a policy that misses several in a row is paused, and the rest is the
operator's (ADR 8).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from sealward.controlplane.adapters.policy_engine import frames
from sealward.controlplane.adapters.policy_engine.opa import answers, readback
from sealward.controlplane.adapters.policy_engine.opa.answers import Gone
from sealward.controlplane.adapters.policy_engine.opa.breaker import Breaker
from sealward.controlplane.adapters.policy_engine.opa.client import OpaClient, Unreachable
from sealward.controlplane.adapters.policy_engine.opa.deadline import Deadline
from sealward.controlplane.adapters.policy_engine.opa.mentions import find_mentions
from sealward.controlplane.adapters.policy_engine.opa.mount import (
    Mount,
    MountedModule,
    mount,
    policy_path,
)
from sealward.controlplane.adapters.policy_engine.process import WorkerSettings
from sealward.controlplane.domain.policy_engine import (
    EngineFault,
    LayerKey,
    LayerPolicy,
    PolicyEngineError,
)

_OK: Final = 200
_INSTANCE_BYTES: Final = 16
_WRAPPING: Final = 1024  # bytes that an answer's mount and a decision's number may take
_MAX_SMALL: Final = 64 * 1024  # what a PUT answers: nothing, or errors
_DEADLY: Final = frozenset({EngineFault.TIMEOUT, EngineFault.CRASHED})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaSettings:
    """How policies are asked.

    Attributes:
        deadline_seconds: longest evaluation, as the caller sees it.
        load_seconds: longest mounting: parse, put, read back.
        max_policies: layer policies kept on the server; the least recently used gives way.
        failures_before_pause: deadlines in a row that a policy may miss before it is paused.
        pause_seconds: how long it is then refused without being tried.
        server_pause_seconds: the same for a server that cannot be reached; short, because it
            costs little to ask and a server that is back should be used.
        worker: limits of the process that reads where a policy says `data`.
    """

    deadline_seconds: float = 0.2
    load_seconds: float = 2.0
    max_policies: int = 64
    failures_before_pause: int = 3
    pause_seconds: float = 30.0
    server_pause_seconds: float = 1.0
    worker: WorkerSettings = field(default_factory=WorkerSettings)


class OpaEngine:
    """A PolicyEngine over one OPA server. Thread-safe; close it to remove its mounts."""

    def __init__(
        self,
        client: OpaClient,
        settings: OpaSettings,
        *,
        builtins: Collection[str],
        monotonic: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """Own `client`; nothing is sent yet."""
        self._client = client
        self._settings = settings
        self._builtins = builtins
        self._monotonic = monotonic
        self._instance = random_bytes(_INSTANCE_BYTES).hex()
        self._lock = threading.Lock()
        self._places: OrderedDict[LayerKey, _Place] = OrderedDict()
        self._puts = _Puts()
        self._server = Breaker(
            "OPA could not be reached",
            failures=settings.failures_before_pause,
            pause_seconds=settings.server_pause_seconds,
            monotonic=monotonic,
        )

    def evaluate(self, policy: LayerPolicy, document: bytes, reference: bytes = b"{}") -> bytes:
        """Return the policy's answer as canonical JSON; see the port.

        Raises:
            PolicyEngineError: there is no answer.
        """
        place = self._place(policy)
        body = b'{"input":{"input":%b,"reference":%b}}' % (document, reference)
        with self._counted(place):
            mounted = place.mounted()
            deadline = Deadline(self._settings.deadline_seconds, self._monotonic)
            try:
                return self._ask(mounted, body, deadline)
            except Gone:
                place.forget(mounted)
            try:
                return self._ask(place.mounted(), body, deadline)
            except Gone:
                raise PolicyEngineError(
                    EngineFault.CRASHED, "OPA does not keep what is put there"
                ) from None

    def prepare(self, policy: LayerPolicy) -> None:
        """Mount `policy` now, so that its first decision need not wait for that.

        Raises:
            PolicyEngineError: it cannot be mounted.
        """
        place = self._place(policy)
        with self._counted(place):
            place.mounted()

    def retire(self, policy: LayerPolicy) -> None:
        """Remove `policy` from the server, in the background."""
        with self._lock:
            place = self._places.pop(policy.key, None)
        if place is not None:
            place.remove()

    def close(self) -> None:
        """Remove every mount and end the connections."""
        with self._lock:
            places = tuple(self._places.values())
            self._places.clear()
        for place in places:
            place.remove()
        self._client.close()

    def _ask(self, mounted: Mount, body: bytes, deadline: Deadline) -> bytes:
        answer = self._client.request(
            "POST",
            mounted.answer_path,
            body=body,
            seconds=deadline.left(),
            max_bytes=frames.MAX_ANSWER_BYTES + _WRAPPING,
            strict=True,
        )
        return answers.policy_answer(answer, mounted)

    @contextmanager
    def _counted(self, place: _Place) -> Iterator[None]:
        """Ask both breakers before, and tell them after, whose fault it was."""
        self._server.refuse_open()
        place.breaker.refuse_open()
        try:
            yield
        except Unreachable:
            self._server.failed()
            raise
        except PolicyEngineError as error:
            if error.fault in _DEADLY:
                place.breaker.failed()
            elif error.fault is not EngineFault.BUSY:
                place.breaker.succeeded()
            raise
        self._server.succeeded()
        place.breaker.succeeded()

    def _place(self, policy: LayerPolicy) -> _Place:
        with self._lock:
            place = self._places.get(policy.key)
            if place is None:
                place = self._places[policy.key] = self._new_place(policy)
            self._places.move_to_end(policy.key)
            surplus = len(self._places) - self._settings.max_policies
            retired = [self._places.popitem(last=False)[1] for _ in range(max(0, surplus))]
        for old in retired:
            old.remove()
        return place

    def _new_place(self, policy: LayerPolicy) -> _Place:
        return _Place(
            policy,
            self._client,
            self._settings,
            instance=self._instance,
            builtins=self._builtins,
            monotonic=self._monotonic,
            puts=self._puts,
        )


_REHEARSAL: Final = b'{"input":{"rehearsal":true}}'


class _Puts:
    """How often anything was put on the server: each time it forgets the queries it prepared."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def add(self) -> None:
        """Count one more."""
        with self._lock:
            self.count += 1


class _Place:
    """One layer policy on the server: whether it is there, and how often it failed."""

    def __init__(
        self,
        policy: LayerPolicy,
        client: OpaClient,
        settings: OpaSettings,
        *,
        instance: str,
        builtins: Collection[str],
        monotonic: Callable[[], float],
        puts: _Puts,
    ) -> None:
        self._policy = policy
        self._client = client
        self._settings = settings
        self._instance = instance
        self._builtins = builtins
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._mount: Mount | None = None
        self._verified = False
        self._puts = puts
        self._rehearsed = -1  # how often anything had been put when it was last rehearsed
        self.breaker = Breaker(
            "it gave no answer",
            failures=settings.failures_before_pause,
            pause_seconds=settings.pause_seconds,
            monotonic=monotonic,
        )

    def mounted(self) -> Mount:
        """Return the mount, after putting it there if that is not done.

        Raises:
            PolicyEngineError: it cannot be put there, or the server holds something else.
        """
        deadline = Deadline(self._settings.load_seconds, self._monotonic)
        if not self._lock.acquire(timeout=deadline.left()):
            raise PolicyEngineError(EngineFault.BUSY, "this policy is being put on OPA")
        try:
            if self._mount is None:
                found = find_mentions(self._policy, self._settings.worker, deadline.left())
                self._mount = mount(self._policy, found, instance=self._instance)
            if not self._verified:
                self._put(self._mount, deadline)
                for module in self._mount.modules:
                    self._verify(self._mount, module, deadline)
                self._verified = True
            if self._rehearsed != self._puts.count:
                self._rehearse(self._mount, deadline)
            return self._mount
        finally:
            self._lock.release()

    def forget(self, mounted: Mount) -> None:
        """Put it there anew before it is asked again: the server says that it is gone."""
        with self._lock:
            self._verified = self._verified and mounted is not self._mount

    def remove(self) -> None:
        """Delete it in the background, users before what they use."""
        if self._mount is not None:
            paths = tuple(policy_path(module) for module in reversed(self._mount.modules))
            self._client.delete_later(paths, seconds=self._settings.load_seconds)

    def _put(self, mounted: Mount, deadline: Deadline) -> None:
        """Put the modules, in rounds: OPA compiles each at once, against those that are there."""
        left = mounted.modules
        while left:
            refused: list[MountedModule] = []
            error: PolicyEngineError | None = None
            for module in left:
                answer = self._client.request(
                    "PUT",
                    policy_path(module),
                    body=module.text.encode(),
                    media_type="text/plain",
                    seconds=deadline.left(),
                    max_bytes=_MAX_SMALL,
                )
                self._puts.add()
                if answer.status != _OK:
                    failed = answers.failure(answer, mounted)
                    if failed.fault is not EngineFault.ERROR:
                        raise failed
                    error = error or failed
                    refused.append(module)
            if error is not None and len(refused) == len(left):
                raise error
            left = tuple(refused)

    def _rehearse(self, mounted: Mount, deadline: Deadline) -> None:
        """Ask once: OPA prepares a query when it is first asked, which may outlast a decision.

        The host's module answers without the policy, which must not get longer than a decision's
        deadline here: while it runs, nothing else can be put on the server. What is answered is
        nobody's business; that it is answered is.
        """
        count = self._puts.count
        self._client.request(
            "POST",
            mounted.answer_path,
            body=_REHEARSAL,
            seconds=deadline.left(),
            max_bytes=frames.MAX_ANSWER_BYTES + _WRAPPING,
            strict=True,
        )
        self._rehearsed = count

    def _verify(self, mounted: Mount, module: MountedModule, deadline: Deadline) -> None:
        answer = self._client.request(
            "GET", policy_path(module), seconds=deadline.left(), max_bytes=readback.MAX_BYTES
        )
        if answer.status != _OK:
            raise answers.failure(answer, mounted)
        readback.verify(answer.body, module, mounted.prefix, self._builtins)
