"""The devkit's one clock: commands and hypervisor stand-ins have no caller to ask."""

from __future__ import annotations

from datetime import UTC, datetime


def system_clock() -> datetime:
    """The time now, aware UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place
