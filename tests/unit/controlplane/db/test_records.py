"""What every record shares, and the shape of refusals."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta, timezone

import pytest
from fakes.state import NOW
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.domain.errors import (
    Code,
    Conflict,
    DomainError,
    NotFound,
    Refused,
    Unavailable,
)
from sealward.controlplane.domain.nodes import FailureClass
from sealward.controlplane.domain.records import from_unix_ms, new_id, unix_ms


@given(st.integers(0, 4_102_444_800_000))
def test_milliseconds_come_back(milliseconds: int) -> None:
    assert unix_ms(from_unix_ms(milliseconds)) == milliseconds
    assert from_unix_ms(milliseconds).tzinfo is UTC


@given(st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - the strategy adds the zone
def test_instants_are_cut_to_the_millisecond_and_never_rounded_up(instant: datetime) -> None:
    back = from_unix_ms(unix_ms(instant))
    assert timedelta() <= instant - back < timedelta(milliseconds=1)


def test_an_instant_without_a_zone_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        unix_ms(NOW.replace(tzinfo=None))
    assert unix_ms(NOW.astimezone(timezone(timedelta(hours=9)))) == unix_ms(NOW)


def test_ids_sort_by_time_and_do_not_collide() -> None:
    ids = [new_id(NOW + timedelta(milliseconds=n), secrets.token_bytes) for n in range(50)]
    assert ids == sorted(ids)
    assert {len(identifier) for identifier in ids} == {32}
    assert new_id(NOW, secrets.token_bytes) != new_id(NOW, secrets.token_bytes)


@pytest.mark.parametrize("kind", [NotFound, Conflict, Refused, Unavailable])
def test_a_refusal_carries_its_code_a_detail_and_what_to_do(kind: type[DomainError]) -> None:
    error = kind(Code.overloaded, "too many", "wait")
    assert (error.code, error.detail, error.hint) == (Code.overloaded, "too many", "wait")
    assert str(error) == "overloaded: too many (wait)"
    assert str(kind(Code.overloaded, "too many")) == "overloaded: too many"


def test_a_refusal_says_whose_fault_it_is() -> None:
    with pytest.raises(TypeError):
        DomainError(Code.overloaded, "too many")


def test_integrity_and_clones_are_sticky() -> None:
    assert {kind for kind in FailureClass if kind.exposes} == {
        FailureClass.integrity,
        FailureClass.clone,
    }
