"""F33: the horizon is never later than anything that ends a lease, and names what set it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.domain.horizon import (
    CEILING,
    HOST_CLOCK_CEILING,
    Limit,
    horizon,
)
from sealward.controlplane.domain.nodes import ClockClass

ISSUED = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
spans = st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=1))
limits = st.lists(
    st.tuples(st.sampled_from(["certificate", "reference set", "node certificate"]), spans),
    max_size=6,
).map(lambda found: [Limit(f"{name} {n}", ISSUED + s) for n, (name, s) in enumerate(found)])
clocks = st.sampled_from(ClockClass)


@given(ttl=spans, clock=clocks, inputs=limits)
def test_it_is_the_earliest_of_everything(
    ttl: timedelta, clock: ClockClass, inputs: list[Limit]
) -> None:
    found = horizon(challenge_issued=ISSUED, ttl=ttl, ttl_cause="ttl", clock=clock, limits=inputs)
    everything = {limit.cause: limit.until for limit in inputs}
    everything |= {"ttl": ISSUED + ttl, "ceiling": ISSUED + CEILING}
    if clock is ClockClass.host:
        everything["host-controlled clock"] = ISSUED + HOST_CLOCK_CEILING
    assert all(found.until <= until for until in everything.values())
    assert everything[found.cause] == found.until  # the cause named is one that sets it


@given(ttl=spans, clock=clocks, inputs=limits, more=limits)
def test_another_limit_never_moves_it_later(
    ttl: timedelta, clock: ClockClass, inputs: list[Limit], more: list[Limit]
) -> None:
    def until(given: list[Limit]) -> datetime:
        return horizon(
            challenge_issued=ISSUED, ttl=ttl, ttl_cause="ttl", clock=clock, limits=given
        ).until

    assert until([*inputs, *more]) <= until(inputs)


@given(ttl=spans, inputs=limits)
def test_a_clock_of_the_host_gets_a_minute(ttl: timedelta, inputs: list[Limit]) -> None:
    found = horizon(
        challenge_issued=ISSUED, ttl=ttl, ttl_cause="ttl", clock=ClockClass.host, limits=inputs
    )
    assert found.until <= ISSUED + timedelta(seconds=60)


@given(ttl=spans, clock=clocks, inputs=limits)
def test_an_older_challenge_never_moves_it_later(
    ttl: timedelta, clock: ClockClass, inputs: list[Limit]
) -> None:
    at = horizon(challenge_issued=ISSUED, ttl=ttl, ttl_cause="t", clock=clock, limits=inputs)
    earlier = ISSUED - timedelta(seconds=29)
    older = horizon(challenge_issued=earlier, ttl=ttl, ttl_cause="t", clock=clock, limits=inputs)
    assert older.until <= at.until
