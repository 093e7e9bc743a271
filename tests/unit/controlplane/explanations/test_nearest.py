"""Nearest is what stands in the same place of the most similar machine, never a similar digest."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.domain.nearest import (
    MOST_ACCEPTED,
    Candidate,
    Standing,
    neighbourhood,
)

BASE = Candidate(
    set_name="agents",
    name="agent 1.0",
    place="pcr4 of the sha256 bank",
    value="00" * 32,
    standing=Standing.in_force,
)
CANDIDATES = st.builds(
    Candidate,
    set_name=st.sampled_from(["a", "b", "c"]),
    name=st.sampled_from(["x", "y"]),
    place=st.just("pcr4"),
    value=st.sampled_from(["00", "01", "ff"]),
    standing=st.sampled_from(Standing),
    same=st.booleans(),
    agreeing=st.integers(0, 3),
    readable=st.booleans(),
)


def nearest(*candidates: Candidate) -> Candidate | None:
    return neighbourhood(candidates).nearest


def test_the_very_value_is_nearest_whatever_became_of_it() -> None:
    withdrawn = replace(BASE, standing=Standing.withdrawn, same=True, set_name="z")
    assert nearest(replace(BASE, agreeing=7), withdrawn) == withdrawn


def test_else_the_set_that_agrees_most() -> None:
    alike = replace(BASE, set_name="z", agreeing=6, standing=Standing.expired)
    assert nearest(replace(BASE, agreeing=5), alike) == alike


def test_among_equals_one_in_force_and_then_the_first_by_name() -> None:
    staged = replace(BASE, set_name="a", standing=Standing.staged)
    assert nearest(staged, replace(BASE, set_name="b")) == replace(BASE, set_name="b")
    assert nearest(replace(BASE, set_name="c"), replace(BASE, set_name="b")).set_name == "b"


def test_a_digest_that_looks_alike_is_no_nearer() -> None:
    """F26: distance between digests tells a forger nothing and an honest reader less."""
    close, far = replace(BASE, value="00" * 31 + "01"), replace(BASE, value="ff" * 32)
    for value in (close, far):
        chosen = neighbourhood([replace(value, set_name="b"), replace(BASE, set_name="a")])
        assert chosen.nearest.set_name == "a"


@given(st.lists(CANDIDATES, max_size=12))
def test_what_may_not_be_read_changes_nothing_that_is_shown(candidates: list[Candidate]) -> None:
    """F26: at most that another set exists, and only where no readable one has a value."""
    shown = neighbourhood(candidates)
    readable = [one for one in candidates if one.readable]
    alone = neighbourhood(readable)
    assert (shown.nearest, shown.accepted, shown.more) == (
        alone.nearest,
        alone.accepted,
        alone.more,
    )
    assert shown.hidden == (bool(candidates) and not readable)


def test_only_values_in_force_are_accepted_and_a_few_of_them_told() -> None:
    many = [replace(BASE, name=f"agent {n:02}") for n in range(MOST_ACCEPTED + 3)]
    shown = neighbourhood([*many, replace(BASE, standing=Standing.staged)])
    assert len(shown.accepted) == MOST_ACCEPTED
    assert shown.more == 3
