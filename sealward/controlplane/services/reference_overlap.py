"""Several reference sets in force may say something about the same value: all of them count.

Reference values are promises of reviewers. Where two differ, a decision relies only on what both
promise, so that adding a set never makes a node trusted further than the sets before it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from sealward.controlplane.domain.reference_values import COMPONENTS, ReferenceSet
from sealward.verifier.wire import json

Entry: TypeAlias = Mapping[str, json.Canonical]

_SEPARATOR: Final = ", "  # occurs in no name of a set
_PROTECTED: Final = "protected"
_HOST_DATA: Final = "host_data"
_IMAGE: Final = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What one set says about a measurement, or about a boot of a TPM.

    Attributes:
        set_name: the set.
        not_after: its end, aware UTC, or None.
        value: the stored value: {name, components, trust_config}, and clock where it is of a guest.
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
    entry, ends = _agreed(descriptions, elsewhere=_HOST_DATA)
    protected = all(one.value.get("clock") == _PROTECTED for one in descriptions)
    return {**entry, "clock": _PROTECTED if protected else None}, ends


def boot(descriptions: Sequence[Described]) -> tuple[Entry, datetime | None]:
    """Return the same for one boot of a TPM; no register says whose the machine's clock is."""
    entry, ends = _agreed(descriptions, elsewhere=None)
    return {**entry, "clock": None}, ends


def whole(described: ReferenceSet, registers: Sequence[Entry]) -> Described:
    """Return what a set says about the boot that it describes: what its registers cover together.

    Args:
        described: the set.
        registers: its stored values of kind `pcr`, all of them.
    """
    covered = {component for register in registers for component in _components(register)}
    in_image = any(register.get("trust_config") == _IMAGE for register in registers)
    value: Entry = {
        "name": described.name,
        "components": [component for component in COMPONENTS if component in covered],
        "trust_config": _IMAGE if in_image else None,
    }
    return Described(set_name=described.name, not_after=described.not_after, value=value)


def _agreed(
    descriptions: Sequence[Described], *, elsewhere: str | None
) -> tuple[Entry, datetime | None]:
    ordered = sorted(descriptions, key=lambda one: one.set_name)
    values = [one.value for one in ordered]
    first, *others = (_components(value) for value in values)
    ends = [one.not_after for one in ordered if one.not_after is not None]
    in_image = all(value.get("trust_config") == _IMAGE for value in values)
    entry: Entry = {
        "name": _joined(str(value.get("name")) for value in values),
        "set": _joined(one.set_name for one in ordered),
        "components": [name for name in first if all(name in other for other in others)],
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
