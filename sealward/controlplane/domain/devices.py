"""Devices beside machines: which node has shown which one, and until when that counts (F8c)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

SHOWN_FOR: Final = timedelta(minutes=3)
"""How long a device counts as shown where no lease rests on it: nodes without leases attest each
minute, so this bridges two attestations that were lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceHold:
    """A node has shown a device.

    Attributes:
        device: its platform id.
        node_id: who has shown it.
        until: when it counts as gone from there; a retired or rejected node holds nothing.
    """

    device: str
    node_id: str
    until: datetime
