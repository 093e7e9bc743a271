"""Damaged input of every parser: a value or its documented error, nothing else, and in time.

20,000 mutations for each parser here; `make soak` sets SEALWARD_MUTATIONS to a million. The same
seed gives the same mutations, so that what escapes can be found again.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from fakes.mutations import mutations
from fakes.parsers import PARSERS, Parser

COUNT = int(os.environ.get("SEALWARD_MUTATIONS", "20000"))
SEED = os.environ.get("SEALWARD_MUTATION_SEED", "sealward")
_LARGEST_SEED = 16 * 1024  # of a vector: damage to the front of a large log is damage enough
_SLOWEST_S = 2.0  # for one input, on a loaded machine: nothing grows faster than its input


@cache
def _files(folder: Path) -> tuple[bytes, ...]:
    files = (
        path for path in sorted(folder.rglob("*")) if path.is_file() and "floe" not in path.parts
    )
    return tuple(data for path in files if len(data := path.read_bytes()) <= _LARGEST_SEED)


def _read(parser: Parser, data: bytes) -> bool:
    try:
        parser.read(data)
    except parser.errors:
        return False
    return True


@pytest.fixture
def vectors(request: pytest.FixtureRequest) -> tuple[bytes, ...]:
    with suppress(pytest.skip.Exception):  # minted evidence alone, unless CI requires the parts
        return _files(request.getfixturevalue("vectors_dir"))
    return ()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("parser", PARSERS, ids=lambda one: one.name)
def test_no_mutation_escapes(parser: Parser, vectors: tuple[bytes, ...]) -> None:
    own = parser.seeds()
    readable = [seed for seed in own if _read(parser, seed)]
    assert readable or parser.name == "any envelope, verified"
    corpus = (*own, *(data for data in vectors if _read(parser, data)))
    taken = 0
    for number, data in enumerate(mutations(corpus, COUNT, seed=f"{SEED}/{parser.name}")):
        began = time.perf_counter()
        try:
            taken += _read(parser, data)
        except Exception as error:  # noqa: BLE001 - whatever else it is, it is the finding
            pytest.fail(f"mutation {number} of {parser.name}: {error!r} from {data.hex()}")
        assert time.perf_counter() - began < _SLOWEST_S, (number, data.hex())
    assert taken < COUNT  # some were refused: the damage is damage
