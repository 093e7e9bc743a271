"""Models on this node: opened when leased, taken back when not.

`ModelKeeper` holds the content keys and decides what is open; a `ModelHost` does the opening. Both
live on the event loop. A content key is kept, in this process only, for as long as a lease covers
it: no key moves on a renewal, and a worker that died is opened again from it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from sealward.enclave_agent.backoff import Backoff
from sealward.enclave_agent.clock import NS_PER_S, BootClock
from sealward.enclave_agent.grants import GrantedKey
from sealward.enclave_agent.inference.catalog import Catalog, Entry, ServedModel
from sealward.enclave_agent.inference.worker_client import WipeReport
from sealward.protos.terms import ModelTerms
from sealward.protos.wipe import WipedItem
from sealward.sealing.memory import wipe
from sealward.telemetry import get_logger

NO_WORKER: Final = 0  # worker_pid of an item whose key was wiped before anything ran with it
STILL_ENDING: Final = 256  # exit status of a worker that the kernel has not ended yet: no real one
_MAX_SENTENCE: Final = 512  # docs/specs/wipe-statement.md field 8, as wipe.py reads it
_log = get_logger(__name__)


class ModelUnusable(Exception):
    """A leased model cannot be opened on this node; one clause says why and what to do."""


class OpenModel(ServedModel, Protocol):
    """A model that runs; `SealedModelHandle` is one."""

    async def revoke(self, reason: str) -> WipeReport:
        """Stop, wipe and end it. What stops and wipes happens before the first suspension."""
        ...


class ModelHost(Protocol):
    """Opens sealed models."""

    async def open(self, model: ModelTerms, content_key: bytearray) -> OpenModel:
        """Find, verify and open the sealed model that `model` names, and no other.

        The key stays the caller's. When cancelled, nothing of the model is left behind.

        Raises:
            ModelUnusable: there is none, or it does not match the terms.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiped:
    """What one act of taking back did.

    Attributes:
        items: a line for each content key.
        unknown: what cannot be known, in words, each once.
    """

    items: tuple[WipedItem, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(slots=True)
class _Kept:
    """One content key and what has become of it."""

    model: ModelTerms
    key: bytearray = field(repr=False)
    retries: Backoff = field(repr=False)
    opening: asyncio.Task[OpenModel] | None = None
    running: OpenModel | None = None
    try_at_ns: int = 0


class ModelKeeper:
    """Every content key on this node, and every model opened with one."""

    def __init__(
        self,
        host: ModelHost,
        catalog: Catalog,
        *,
        clock: BootClock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._host: Final = host
        self._catalog: Final = catalog
        self._clock: Final = clock
        self._random_bytes: Final = random_bytes
        self._kept: dict[bytes, _Kept] = {}

    def take_key(self, granted: GrantedKey) -> None:
        """Keep a content key until no lease covers it; the keeper wipes it."""
        key_id = granted.model.content_key_id
        if key_id in self._kept:
            wipe(granted.key)  # granted again: what runs was opened with the first one
            return
        retries = Backoff(first=0.5, most=30.0, random_bytes=self._random_bytes)
        self._kept[key_id] = _Kept(granted.model, granted.key, retries)

    def missing(self, leased: Iterable[ModelTerms]) -> tuple[ModelTerms, ...]:
        """Return leased models whose content key never came."""
        return tuple(model for model in leased if model.content_key_id not in self._kept)

    def running(self) -> tuple[ModelTerms, ...]:
        """Return the models that run now."""
        return tuple(
            kept.model
            for kept in self._kept.values()
            if kept.running is not None and kept.running.unavailable_because is None
        )

    async def open_kept(self) -> None:
        """Begin to open every kept model that neither runs nor is being opened.

        A worker that ended by itself is cleared away first.
        """
        for key_id in tuple(self._kept):
            kept = self._kept.get(key_id)
            if kept is None:  # taken back while this loop waited
                continue
            if kept.opening is not None or self._clock() < kept.try_at_ns:
                continue
            if kept.running is not None:
                if kept.running.unavailable_because is None:
                    continue
                self._retry_later(kept)  # before the wait: another call passes this one by
                await kept.running.revoke("its worker ended by itself")
                if self._kept.get(key_id) is kept:  # else who took it back states its wipe
                    kept.running = None
                continue
            self._show(kept.model)
            kept.opening = asyncio.create_task(self._host.open(kept.model, kept.key))
            kept.opening.add_done_callback(functools.partial(self._opened, kept))

    def keep_only(self, leased: Iterable[ModelTerms], reason: str) -> Coroutine[Any, Any, Wiped]:
        """Take back every model, and wipe every key, that `leased` does not cover.

        What is taken back is decided, and its keys are wiped, when this is called; awaiting what
        it returns stops and wipes the models, all of them before the first is waited for.
        """
        covered = {model.content_key_id for model in leased}
        gone = [self._kept.pop(key_id) for key_id in tuple(self._kept) if key_id not in covered]
        for kept in gone:
            wipe(kept.key)
            self._show(kept.model, problem=reason)
        return _take_all_back(gone, reason)

    def _opened(self, kept: _Kept, task: asyncio.Task[OpenModel]) -> None:
        kept.opening = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            kept.running = task.result()  # before anything else: whoever takes it back must see it
        if self._kept.get(kept.model.content_key_id) is not kept:
            return  # taken back meanwhile
        name, version = kept.model.name, kept.model.version
        if kept.running is not None:
            kept.retries.reset()
            self._show(kept.model)
            _log.info("model opened", model=name, version=version)
            return
        self._retry_later(kept)
        # Only ModelUnusable is meant for clients; anything else is ours, and is told to operators.
        known = isinstance(error, ModelUnusable)
        problem = str(error) if known else "it could not be opened; see the agent's log"
        self._show(kept.model, problem=problem)
        _log.error("model not opened", model=name, version=version, error=f"{error}")

    def _show(self, model: ModelTerms, problem: str = "") -> None:
        """Show what has become of a model: it runs, it loads, or it has a problem.

        Names belong to workloads and the catalog does not know them: another workload's model of
        the same name and version that runs stays shown. Which caller reaches it the gate decides.
        """
        same = (
            kept.running
            for kept in self._kept.values()
            if (kept.model.name, kept.model.version) == (model.name, model.version)
        )
        running = next((one for one in same if one and one.unavailable_because is None), None)
        entry = Entry(model.name, model.version, running, "" if running else problem)
        self._catalog.put(entry)

    def _retry_later(self, kept: _Kept) -> None:
        kept.try_at_ns = self._clock() + int(kept.retries.delay() * NS_PER_S)


async def _take_all_back(gone: list[_Kept], reason: str) -> Wiped:
    done = await asyncio.gather(
        *(_take_back(kept, reason) for kept in gone), return_exceptions=True
    )
    items: list[WipedItem] = []
    unknown: dict[str, None] = {}
    for kept, one in zip(gone, done, strict=True):
        if isinstance(one, BaseException):  # what is known of the others must still be stated
            _log.critical("a wipe failed", model=kept.model.name, error=repr(one))
            items.append(_item(kept.model, None, exit_status=STILL_ENDING))
            sentence = f"whether {kept.model.name} {kept.model.version} was wiped: it failed"
            unknown[sentence[:_MAX_SENTENCE]] = None
            continue
        items.append(one[0])
        unknown |= dict.fromkeys(one[1])
    return Wiped(items=tuple(items), unknown=tuple(unknown))


async def _take_back(kept: _Kept, reason: str) -> tuple[WipedItem, tuple[str, ...]]:
    opening = kept.opening
    if opening is not None:
        opening.cancel()  # whoever opens wipes what it has decrypted so far
        await asyncio.wait({opening})
        if not opening.cancelled() and opening.exception() is None:
            kept.running = opening.result()  # it had arrived before it could be cancelled
    if kept.running is None:
        return _item(kept.model, None), ()
    report = await kept.running.revoke(reason)
    if report.exit_status is None:  # once more: the kernel may be slow to free large memory
        report = await kept.running.revoke(reason)
    return _item(kept.model, report), tuple(s[:_MAX_SENTENCE] for s in report.cannot_be_known)


def _item(model: ModelTerms, report: WipeReport | None, *, exit_status: int = 0) -> WipedItem:
    if report is None:
        return WipedItem(
            content_key_id=model.content_key_id,
            model=model.name,
            version=model.version,
            worker_pid=NO_WORKER,
            exit_status=exit_status,
            weight_bytes=0,
        )
    return WipedItem(
        content_key_id=model.content_key_id,
        model=model.name,
        version=model.version,
        worker_pid=report.worker_pid,
        exit_status=STILL_ENDING if report.exit_status is None else report.exit_status,
        weight_bytes=report.bytes_wiped,
    )
