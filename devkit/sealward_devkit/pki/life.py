"""When a new development root begins and ends."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sealward_devkit.pki.certificates import Validity
from sealward_devkit.pki.roots import MAXIMUM_ROOT_LIFE

if TYPE_CHECKING:
    from datetime import datetime


def life_from(now: datetime, life: timedelta) -> Validity:
    """Dates from `now` (aware UTC), cut to the second, for `life`.

    Raises:
        ValueError: `life` is not above zero or is more than 7 days.
    """
    if not timedelta(0) < life <= MAXIMUM_ROOT_LIFE:
        raise ValueError("a development root lives for some time and at most 7 days")
    start = now.replace(microsecond=0)
    return Validity(start, start + life)
