"""A thread of its own for work that may never come back: asking hardware for evidence.

Not the event loop's executor: its few threads are shared, so a device that hangs would take them
one after the other from opening models and reading requests, and would keep the process from
ending. Here work that hangs costs one thread, and the next work waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from threading import Thread
from typing import Any, Final, TypeVar

NAME: Final = "sealward-own-thread"  # as debuggers show it
T = TypeVar("T")


class OwnThread:
    """Runs one piece of work at a time, for callers on one event loop."""

    def __init__(self) -> None:
        self._last: asyncio.Future[Any] | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns or raises, once what began earlier has ended.

        A caller that is cancelled leaves its work running: a thread cannot be stopped.
        """
        while self._last is not None and not self._last.done():
            await asyncio.wait({self._last})
        mine = _begin(work)
        self._last = mine
        return await asyncio.shield(mine)


def _begin(work: Callable[[], T]) -> asyncio.Future[T]:
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()
    result.add_done_callback(_retrieve)
    context = contextvars.copy_context()

    def settle(how: Callable[[Any], None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(how, value)

    def body() -> None:
        try:
            value = context.run(work)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            settle(result.set_exception, error)
        else:
            settle(result.set_result, value)

    Thread(target=body, name=NAME, daemon=True).start()
    return result


def _retrieve(result: asyncio.Future[Any]) -> None:
    """Look at the outcome, which the event loop would otherwise complain about."""
    if not result.cancelled():
        result.exception()
