"""What was verified before, by all that it was verified from.

Only successes are kept, so hostile endorsements can at worst push out good ones; and a hit can
never be had with other bytes or other anchors than those that were checked, for both are in the
key. Dates are no part of it: a user of the cache checks them at each use.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final, TypeAlias, TypeVar

DEFAULT_CAPACITY: Final = 4096  # one per chip and TCB; about 2 KiB each

# The name of the format's own kind of entry, then what it was verified from, and under which
# anchors: of what attesters send digests, of collateral the bytes themselves. These are held in
# memory anyway, by a source that gives the same object each time, so that finding it costs nothing.
Key: TypeAlias = tuple[str, *tuple[bytes | str, ...]]
_T = TypeVar("_T")


class ChainCache:
    """Verified things, oldest use out; safe to share between threads."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[Key, object] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key, kind: type[_T]) -> _T | None:
        """Return what is kept under `key` when it is a `kind`, and count that as a use."""
        with self._lock:
            found = self._entries.get(key)
            if not isinstance(found, kind):
                return None
            self._entries.move_to_end(key)
            return found

    def put(self, key: Key, verified: object) -> None:
        """Keep what was verified."""
        with self._lock:
            self._entries[key] = verified
            self._entries.move_to_end(key)
            if len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
