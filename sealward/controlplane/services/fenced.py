"""What was read under a fence, kept until the fence moves.

A decision reads its fences and what they guard in one snapshot, and commits only while the fences
stand (F16). So what one snapshot read under a value of a fence is what every other one reads under
it, provided that whatever changes it moves the fence in the same transaction. That is the
condition for keeping something here; replicas need not share it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Final, TypeVar, cast

_T = TypeVar("_T")


class Fenced:
    """Readings by key, each with the fence value that it was made under; oldest use out.

    A key begins with the name of its reader, so nobody finds what another one has read.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity: Final = capacity
        self._lock: Final = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[int, datetime | None, object]] = OrderedDict()

    def get(
        self,
        key: Hashable,
        epoch: int,
        now: datetime,
        read: Callable[[], tuple[_T, datetime | None]],
    ) -> _T:
        """Return the reading under `key`, made now unless one under the same fence value stands.

        Args:
            key: the reader's name, the tenant and what is read.
            epoch: value of the fence, from the snapshot that `read` reads.
            now: for readings that end by themselves.
            read: makes the reading; with it the instant from which it does not hold, if any.
        """
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0] == epoch and (kept[1] is None or now < kept[1]):
                self._kept.move_to_end(key)
                return cast("_T", kept[2])  # of the same reader
        value, until = read()
        with self._lock:
            self._kept[key] = (epoch, until, value)
            self._kept.move_to_end(key)
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return value
