"""What runs beside the listeners: sweeps, housekeeping, the log, collateral; a thread for each.

A worker never dies of one failure: it says so in the log and takes its next turn. What it has left
undone is in the database, and the fence that was committed before holds meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import structlog

from sealward.controlplane.bootstrap import ControlPlane

_SWEEP_POLL_S: Final = 1.0  # the floor under a lost wake-up, and how a crash's sweeps are resumed
_HOUSEKEEPING_S: Final = 1.0
_SEQUENCER_S: Final = 0.5
_COLLATERAL_S: Final = 10.0
_REFUSALS_EVERY: Final = 60  # housekeeping turns between two entries about refused requests

_log = structlog.get_logger(__name__)


@contextlib.contextmanager
def working(plane: ControlPlane, refused: Callable[[], Mapping[str, int]]) -> Iterator[None]:
    """Run the workers for as long as the context lasts.

    Args:
        plane: what they work on.
        refused: returns, and forgets, the counts of refused requests.
    """
    stop = threading.Event()
    house = _House(plane, refused)
    threads = (
        threading.Thread(target=_sweep, args=(plane, stop), name="sweeps"),
        threading.Thread(
            target=_repeat, args=("housekeeping", house.turn, stop, _HOUSEKEEPING_S), name="house"
        ),
        threading.Thread(
            target=_repeat,
            args=("sequencer", plane.sequencer.turn, stop, _SEQUENCER_S),
            name="sequencer",
        ),
        *_fetching(plane, stop),
    )
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        plane.bell.event.set()
        if plane.collateral.fetching is not None:
            plane.collateral.fetching.asked.set()
        for thread in threads:
            thread.join()


class _House:
    """One turn after another of what the clock ends."""

    def __init__(self, plane: ControlPlane, refused: Callable[[], Mapping[str, int]]) -> None:
        self._plane = plane
        self._refused = refused
        self._turns = 0

    def turn(self) -> None:
        self._turns += 1
        self._plane.housekeeper.run()
        if self._turns % _REFUSALS_EVERY == 0:
            self._plane.housekeeper.record_refusals(self._refused())


def _sweep(plane: ControlPlane, stop: threading.Event) -> None:
    while not stop.is_set():
        plane.bell.event.clear()
        _guarded("sweeper", plane.sweeper.run)
        plane.bell.event.wait(_SWEEP_POLL_S)


def _fetching(plane: ControlPlane, stop: threading.Event) -> Iterator[threading.Thread]:
    """Yield the thread that asks vendors for collateral, where it is configured."""
    fetching = plane.collateral.fetching
    if fetching is None:
        return

    def work() -> None:
        while not stop.is_set():
            fetching.asked.clear()
            _guarded("collateral", lambda: fetching.turn(stop.is_set))
            fetching.asked.wait(_COLLATERAL_S)

    yield threading.Thread(target=work, name="collateral")


def _repeat(
    worker: str, turn: Callable[[], object], stop: threading.Event, interval_s: float
) -> None:
    """Take turns until told to stop, and one last turn after that."""
    stopping = False
    while not stopping:
        stopping = stop.wait(interval_s)
        _guarded(worker, turn)


def _guarded(worker: str, turn: Callable[[], object]) -> None:
    try:
        turn()
    except Exception:  # noqa: BLE001 - a worker that ends would leave revocations undone
        _log.exception("background work failed; it goes on at its next turn", worker=worker)
