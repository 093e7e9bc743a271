"""The horizon: the latest instant at which an unmodified agent could use a key (F33)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sealward.controlplane.domain.nodes import ClockClass

CEILING: Final = timedelta(seconds=3600)
HOST_CLOCK_CEILING: Final = timedelta(seconds=60)  # F4: the host can slow or pause that clock


@dataclass(frozen=True, slots=True)
class Limit:
    """One thing that ends a lease.

    Attributes:
        cause: stable name, for example "certificate of the platform" or "ttl of the workload".
        until: the instant from which the key may no longer be used.
    """

    cause: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Horizon:
    """The earliest limit.

    Attributes:
        until: see `Limit`.
        cause: the limit that set it.
    """

    until: datetime
    cause: str


def horizon(
    *,
    challenge_issued: datetime,
    ttl: timedelta,
    ttl_cause: str,
    clock: ClockClass,
    limits: Iterable[Limit],
) -> Horizon:
    """Return the earliest of every limit; the first named wins a tie.

    Args:
        challenge_issued: freshness counts from here, never from receipt (F7).
        ttl: what workload and release policies composed to.
        ttl_cause: what set `ttl`.
        clock: class of the node's clock.
        limits: certificates, revocation lists, collateral, reference values, node certificate, ...
    """
    candidates = [
        Limit(ttl_cause, challenge_issued + ttl),
        Limit("ceiling", challenge_issued + CEILING),
        *limits,
    ]
    if clock is ClockClass.host:
        candidates.append(Limit("host-controlled clock", challenge_issued + HOST_CLOCK_CEILING))
    first = min(candidates, key=lambda limit: limit.until)
    return Horizon(until=first.until, cause=first.cause)
