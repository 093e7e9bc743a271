"""What every stored record shares.

The default tenant, pages, canonical JSON text and time-ordered ids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, NewType, TypeVar

RandomBytes = Callable[[int], bytes]
"""Returns that many unpredictable bytes; `secrets.token_bytes` in production."""

JsonText = NewType("JsonText", str)
"""Canonical JSON text (verifier.wire.json); its meaning belongs to the module that wrote it."""

Labels = tuple[tuple[str, str], ...]
"""Name and value pairs, sorted by name, each name once."""

DEFAULT_TENANT: Final = "default"  # the only tenant until the administration issue
MAX_PAGE: Final = 1000  # rows one list call may return; keeps a reader's memory and time bounded

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list.

    The items in key order and the cursor of the next page, None after the last.
    """

    items: tuple[T, ...]
    after: str | None


def unix_ms(instant: datetime) -> int:
    """Return whole milliseconds since 1970 UTC, rounded down; `instant` must be aware."""
    return (instant - _EPOCH) // _MILLISECOND


def from_unix_ms(milliseconds: int) -> datetime:
    """Return the UTC instant of `milliseconds` since 1970."""
    return _EPOCH + milliseconds * _MILLISECOND


def new_id(now: datetime, random_bytes: RandomBytes) -> str:
    """Return 32 lower hex digits: 48 bits of milliseconds, then 80 random bits.

    The time prefix keeps new rows together at the end of an index; nothing may read a time out of
    it.
    """
    return unix_ms(now).to_bytes(6, "big").hex() + random_bytes(10).hex()
