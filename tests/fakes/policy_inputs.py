"""Inputs for policies by the thousand: samples whose fields are changed to values that matter.

The same seed gives the same inputs, so a difference between two engines can be looked at again.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sealward.controlplane.adapters.policy_engine.shipped import shipped
from sealward.controlplane.domain.policies import PolicyKind

_T = TypeVar("_T")
_MOST_CHANGES = 4

# What a field may hold that its author did not think of. 2**64-1 is the largest SVN that a report
# has room for; beyond 2**53 engines that count in doubles begin to differ.
EDGES: tuple[Any, ...] = (
    *(None, True, False, "", [], {}, [None], {"": None}),
    *(0, 1, -1, 2, 255, 256, (1 << 53) - 1, -(1 << 53) + 1, 1 << 53, (1 << 63) - 1, 1 << 63),
    *((1 << 64) - 1, -(1 << 63), "0", "1", "true", "null", " compliant", "Compliant", "%v", "%s%d"),
    *("\u00e9", "e\u0301", "\U0001d11e", "\u2028", '"', "\\", "\x7f", "a" * 600, "[]", "0x10"),
)
# One field can hold these alone, and the policies read it as a time.
TIMES = (
    *("2026-11-23T12:00:00Z", "2026-11-23T12:00:00+00:00", "2026-11-23T12:00:00.000000001Z"),
    *("2026-11-23T11:59:59.999999999Z", "2027-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
    *("1677-09-21T00:12:43Z", "2262-04-11T23:47:16Z", "2026-11-23T24:00:00Z", "2026-11-23"),
    *("2026-02-30T00:00:00Z", "2026-11-23t12:00:00z", "2026-11-23 12:00:00Z", "soon"),
    *("2026-12-31T23:59:60Z", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z"),
)


class Chance:
    """A stream of choices from a seed."""

    def __init__(self, seed: str) -> None:
        self._state = seed.encode()

    def below(self, limit: int) -> int:
        """Return a number from 0 to below `limit`."""
        self._state = hashlib.sha256(self._state).digest()
        return int.from_bytes(self._state, "big") % limit

    def of(self, items: Sequence[_T]) -> _T:
        """Return one of `items`."""
        return items[self.below(len(items))]


@dataclass(frozen=True)
class Case:
    """One input, and which it is."""

    kind: PolicyKind
    number: int
    document: bytes
    reference: bytes


def cases(kind: PolicyKind, count: int, *, seed: str = "parity") -> Iterator[Case]:
    """Yield `count` inputs of a kind: the samples themselves, then changed ones."""
    samples = [
        {"input": json.loads(sample.document), "reference": json.loads(sample.reference)}  # noqa: TID251 - our own
        for sample in shipped(kind).samples
    ]
    seen = _values_by_field(samples)
    read = _names_in(kind)
    for number in range(count):
        chance = Chance(f"{seed}/{kind}/{number}")
        tree = copy.deepcopy(samples[number % len(samples)])
        changes = 0 if number < len(samples) else 1 + chance.below(_MOST_CHANGES)
        for _ in range(changes):
            _change(tree, chance, samples, seen, read)
        yield Case(kind, number, _encode(tree["input"]), _encode(tree["reference"]))


def _encode(value: object) -> bytes:
    # Not `wire.json.canonical`, which refuses integers that policies must cope with all the same.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode()


def _change(
    tree: dict[str, Any],
    chance: Chance,
    samples: list[dict[str, Any]],
    seen: dict[str, list[Any]],
    read: frozenset[str],
) -> None:
    """Change one place below `input` or `reference`."""
    if chance.below(12) == 0:  # two samples that never met
        part = chance.of(("input", "reference"))
        tree[part] = copy.deepcopy(chance.of(samples)[part])
        return
    places = list(_places(tree))
    if chance.below(4):  # mostly where the policy looks
        read_ones = [place for place in places if place[1] in read or isinstance(place[0], list)]
        places = read_ones or places
    if not places:
        return
    holder, name = chance.of(places)
    old = holder[name]
    what = chance.below(10)
    if what == 0:
        del holder[name]
    elif what == 1 and isinstance(old, list):
        old.append(copy.deepcopy(chance.of([*old, *EDGES])))
    elif what == 2 and isinstance(old, list):
        old.reverse()
    elif what == 3 and isinstance(old, int) and not isinstance(old, bool):
        holder[name] = old + chance.of((-1, 1))
    elif name in {"now", "not_after"} and what < 8:
        holder[name] = chance.of(TIMES)
    elif isinstance(name, str) and what < 8:
        holder[name] = copy.deepcopy(chance.of(seen.get(name, EDGES)))
    else:
        holder[name] = copy.deepcopy(chance.of(EDGES))


def _places(tree: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield (holder, name or index) of everything below `input` and `reference`."""
    pending: list[Any] = [tree["input"], tree["reference"]]
    while pending:
        holder = pending.pop()
        for name, item in holder.items() if isinstance(holder, dict) else enumerate(holder):
            yield holder, name
            if isinstance(item, dict | list):
                pending.append(item)


def _names_in(kind: PolicyKind) -> frozenset[str]:
    """Every word of the policy, so every field that it reads."""
    texts = (module.text for module in shipped(kind).modules if not module.is_test)
    return frozenset(re.findall(r"[a-z_]+", "\n".join(texts)))


def _values_by_field(samples: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Collect what the samples hold under each name, and edges for all."""
    seen: dict[str, list[Any]] = {}
    for sample in samples:
        for holder, name in _places(sample):
            known = seen.setdefault(str(name), [])
            if holder[name] not in known:
                known.append(holder[name])
    return {name: [*values, *EDGES[:4]] for name, values in seen.items()}
