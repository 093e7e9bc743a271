"""The repository of held devices; the rules of services/repositories.py hold for it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sealward.controlplane.domain.devices import DeviceHold


class Devices(Protocol):
    """Which node holds which device, and until when."""

    def hold(self, hold: DeviceHold) -> None:
        """Insert or overwrite."""

    def holders(self, device: str, now: datetime) -> tuple[str, ...]:
        """Return the ids of the admitted nodes that hold a device at `now`, sorted."""

    def purge(self, now: datetime, *, limit: int) -> int:
        """Forget up to `limit` holds that have ended; return how many."""
