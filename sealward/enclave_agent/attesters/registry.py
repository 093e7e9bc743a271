"""Attesters by name, from the entry points of what is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import cast

from sealward.enclave_agent.attesters.port import (
    ENTRY_POINT_GROUP,
    Attester,
    AttesterFactory,
    AttesterUnavailable,
)


def installed() -> tuple[str, ...]:
    """Return the names of all installed attesters, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=ENTRY_POINT_GROUP)}))


def load(name: str, settings: Mapping[str, object]) -> Attester:
    """Build the attester called `name` from its settings.

    Raises:
        AttesterUnavailable: not installed, installed twice, or its settings cannot be used.
    """
    points = tuple(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if len({point.value for point in points}) != 1:
        known = ", ".join(installed()) or "none"
        problem = "is not installed" if not points else "is provided by two distributions"
        raise AttesterUnavailable(f"Attester '{name}' {problem}; installed: {known}.")
    try:
        factory = next(iter(points)).load()
    except (ImportError, AttributeError) as error:
        raise AttesterUnavailable(f"Attester '{name}' cannot be loaded: {error}.") from error
    return cast("AttesterFactory", factory)(settings)
