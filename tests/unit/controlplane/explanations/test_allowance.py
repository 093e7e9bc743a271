"""So many at once, then one after the other."""

from __future__ import annotations

from datetime import timedelta

from fakes.state import ManualClock

from sealward.controlplane.services.allowance import Allowance


def test_a_burst_is_allowed_and_refills() -> None:
    clock = ManualClock()
    allowance = Allowance(clock, burst=3, each_s=1.0)
    assert [allowance.take("a") for _ in range(5)] == [True, True, True, False, False]
    clock.advance(timedelta(seconds=1))
    assert [allowance.take("a") for _ in range(2)] == [True, False]
    clock.advance(timedelta(seconds=100))
    assert [allowance.take("a") for _ in range(5)] == [True, True, True, False, False]


def test_callers_do_not_share_it() -> None:
    allowance = Allowance(ManualClock(), burst=1, each_s=1.0)
    assert [allowance.take(who) for who in ("a", "a", "b")] == [True, False, True]


def test_what_is_remembered_is_bounded() -> None:
    clock = ManualClock()
    allowance = Allowance(clock, burst=1, each_s=1.0)
    for number in range(10_000):
        clock.advance(timedelta(milliseconds=10))
        assert allowance.take(str(number))
    assert len(allowance._full_at) <= 4096  # noqa: SLF001 - no other way to see it
