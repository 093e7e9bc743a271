"""Hostile bytes for parsers: raw ones, and real ones that were flipped, cut, extended or spliced.

Random bytes alone rarely get past a first length or magic; mutations of what is valid do.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

_SMALL = st.binary(max_size=8)


def mutated(seeds: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """One of `seeds` after one to three mutations; the corpus must not be empty."""
    assert seeds
    return st.sampled_from(seeds).flatmap(lambda seed: _mutations(seed, seeds))


def hostile(seeds: tuple[bytes, ...], *, max_size: int = 2048) -> st.SearchStrategy[bytes]:
    """Raw bytes, or mutated seeds, or seeds as they are."""
    return st.one_of(st.binary(max_size=max_size), mutated(seeds), st.sampled_from(seeds))


def _mutations(seed: bytes, seeds: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    step = st.one_of(
        st.tuples(st.just("flip"), st.integers(0, max(len(seed) - 1, 0)), st.integers(1, 255)),
        st.tuples(st.just("cut"), st.integers(0, len(seed)), st.integers(0, 16)),
        st.tuples(st.just("insert"), st.integers(0, len(seed)), _SMALL),
        st.tuples(st.just("splice"), st.integers(0, len(seed)), st.sampled_from(seeds)),
        st.tuples(st.just("end"), st.integers(0, len(seed)), st.just(0)),
    )
    return st.lists(step, min_size=1, max_size=3).map(lambda steps: _apply(seed, steps))


def _apply(seed: bytes, steps: Sequence[tuple[str, int, int | bytes]]) -> bytes:
    data = seed
    for kind, at, with_what in steps:
        where = min(at, len(data))
        if kind == "flip" and isinstance(with_what, int) and where < len(data):
            data = data[:where] + bytes((data[where] ^ with_what,)) + data[where + 1 :]
        elif kind == "cut" and isinstance(with_what, int):
            data = data[:where] + data[where + with_what :]
        elif kind == "insert" and isinstance(with_what, bytes):
            data = data[:where] + with_what + data[where:]
        elif kind == "splice" and isinstance(with_what, bytes):
            data = data[:where] + with_what[where:]
        elif kind == "end":
            data = data[:where]
    return data
