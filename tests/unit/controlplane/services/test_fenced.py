"""What was read under a fence is read once, and never used when the fence or its time has moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sealward.controlplane.services.fenced import Fenced

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = ("reader", "default", "thing")


class Counted:
    """A reading that says which one it is."""

    def __init__(self, until: datetime | None = None) -> None:
        self.made = 0
        self.until = until

    def __call__(self) -> tuple[int, datetime | None]:
        self.made += 1
        return self.made, self.until


def test_one_fence_value_is_read_once():
    kept, read = Fenced(8), Counted()
    assert [kept.get(KEY, 3, NOW, read) for _ in range(3)] == [1, 1, 1]


def test_a_moved_fence_reads_anew_in_either_direction():
    kept, read = Fenced(8), Counted()
    assert [kept.get(KEY, epoch, NOW, read) for epoch in (3, 4, 3)] == [1, 2, 3]


def test_a_reading_ends_at_its_instant():
    read = Counted(until=NOW)
    kept = Fenced(8)
    before = NOW - timedelta(microseconds=1)
    assert [kept.get(KEY, 3, now, read) for now in (before, before, NOW, NOW)] == [1, 1, 2, 3]


def test_other_keys_are_other_readings_and_the_unused_go_first():
    kept, read = Fenced(2), Counted()

    def of(name: str) -> int:
        return kept.get(("reader", "default", name), 0, NOW, read)

    assert (of("a"), of("b"), of("a"), of("c"), of("a"), of("b")) == (1, 2, 1, 3, 1, 4)
