"""The real database, with a call of the test before or after each of its operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sealward.controlplane.services.ports import Database, Transaction

T = TypeVar("T")


def nothing() -> None:
    """The hook that does nothing."""


class Crash(BaseException):
    """The process is killed here: not an error that anybody handles."""


class HookedDatabase:
    """services.ports.Database that calls back around every operation."""

    def __init__(
        self,
        inner: Database,
        *,
        before_read: Callable[[], None] = nothing,
        before_write: Callable[[], None] = nothing,
        after_write: Callable[[], None] = nothing,
    ) -> None:
        self._inner = inner
        self._before_read = before_read
        self._before_write = before_write
        self._after_write = after_write

    def read(self, fn: Callable[[Transaction], T]) -> T:
        self._before_read()
        return self._inner.read(fn)

    def write(self, fn: Callable[[Transaction], T]) -> T:
        self._before_write()
        answer = self._inner.write(fn)
        self._after_write()
        return answer
