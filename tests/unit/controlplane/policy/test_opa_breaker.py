"""A breaker opens after failures in a row, and only then."""

from __future__ import annotations

import pytest

from sealward.controlplane.adapters.policy_engine.opa.breaker import Breaker
from sealward.controlplane.adapters.policy_engine.opa.deadline import Deadline
from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def breaker(hand: Hand) -> Breaker:
    return Breaker("it failed", failures=3, pause_seconds=30, monotonic=hand)


def is_open(breaker: Breaker) -> bool:
    try:
        breaker.refuse_open()
    except PolicyEngineError as error:
        return error.fault is EngineFault.BUSY
    return False


def test_it_opens_at_the_third_failure_in_a_row(breaker: Breaker) -> None:
    assert not is_open(breaker)
    breaker.failed()
    breaker.failed()
    assert not is_open(breaker)
    breaker.failed()
    assert is_open(breaker)


def test_a_success_between_starts_the_count_anew(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert not is_open(breaker)


def test_it_says_what_failed_and_when_it_is_tried_again(breaker: Breaker, hand: Hand) -> None:
    for _ in range(3):
        breaker.failed()
    hand.now += 10
    with pytest.raises(PolicyEngineError) as refused:
        breaker.refuse_open()
    assert refused.value.detail == "it failed 3 times in a row; tried again in 20 s"


def test_after_the_pause_one_failure_opens_it_again(breaker: Breaker, hand: Hand) -> None:
    for _ in range(3):
        breaker.failed()
    hand.now += 30
    assert not is_open(breaker)
    breaker.failed()
    assert is_open(breaker)
    hand.now += 30
    assert not is_open(breaker)
    breaker.succeeded()
    breaker.failed()
    assert not is_open(breaker)


def test_a_deadline_gives_what_is_left_and_then_refuses(hand: Hand) -> None:
    deadline = Deadline(2, hand)
    hand.now += 1.5
    assert deadline.left() == 0.5
    hand.now += 0.5
    with pytest.raises(PolicyEngineError) as late:
        deadline.left()
    assert late.value.fault is EngineFault.TIMEOUT
