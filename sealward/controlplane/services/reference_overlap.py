"""Several reference sets in force may say something about the same value: all of them count.

Reference values are promises of reviewers. Where two differ, a decision relies only on what both
promise, so that adding a set never makes a node trusted further than the sets before it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from sealward.verifier.wire import json

Entry: TypeAlias = Mapping[str, json.Canonical]

_SEPARATOR: Final = ", "  # occurs in no name of a set
_PROTECTED: Final = "protected"
_HOST_DATA: Final = "host_data"
_IMAGE: Final = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What one set says about a measurement or about a register of a TPM.

    Attributes:
        set_name: the set.
        not_after: its end, aware UTC, or None.
        value: the stored value: {name, components, clock, trust_config}.
    """

    set_name: str
    not_after: datetime | None
    value: Entry


def measurement(descriptions: Sequence[Described]) -> tuple[Entry, datetime | None]:
    """Return what all descriptions of one measurement agree on, and the earliest end.

    components: those that every one lists. clock: protected only if every one says so.
    trust_config: measured in the image only if every one says so, else looked for in HOST_DATA.
    name and set: all of them, in the order of the sets' names.
    """
    return _agreed(descriptions, elsewhere=_HOST_DATA)


def pcr(descriptions: Sequence[Described]) -> tuple[Entry, datetime | None]:
    """Return the same for one register of a TPM; one that covers no trust configuration says so."""
    return _agreed(descriptions, elsewhere=None)


def _agreed(
    descriptions: Sequence[Described], *, elsewhere: str | None
) -> tuple[Entry, datetime | None]:
    ordered = sorted(descriptions, key=lambda one: one.set_name)
    values = [one.value for one in ordered]
    first, *others = (_components(value) for value in values)
    ends = [one.not_after for one in ordered if one.not_after is not None]
    protected = all(value.get("clock") == _PROTECTED for value in values)
    in_image = all(value.get("trust_config") == _IMAGE for value in values)
    entry: Entry = {
        "name": _joined(str(value.get("name")) for value in values),
        "set": _joined(one.set_name for one in ordered),
        "components": [name for name in first if all(name in other for other in others)],
        "clock": _PROTECTED if protected else None,
        "trust_config": _IMAGE if in_image else elsewhere,
    }
    return entry, min(ends, default=None)


def floor(floors: Iterable[Entry]) -> Entry:
    """Return the floor that satisfies all: component by component the highest one."""
    highest: dict[str, int] = {}
    for one in floors:
        for component, number in one.items():
            if not isinstance(number, int):
                raise TypeError("a stored TCB floor is a map of component to number")
            highest[component] = max(highest.get(component, 0), number)
    return highest


def _joined(names: Iterable[str]) -> str:
    return _SEPARATOR.join(dict.fromkeys(names))


def _components(value: Entry) -> tuple[str, ...]:
    listed = value.get("components")
    return tuple(map(str, listed)) if isinstance(listed, list | tuple) else ()
