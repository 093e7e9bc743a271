"""Which node holds which device: those that are admitted, until the instant that was written."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.state import NOW, a_node, hex_id

from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.domain.devices import DeviceHold
from sealward.controlplane.domain.errors import DomainError
from sealward.controlplane.domain.nodes import NodeState

GPU = "nvidia:device:" + "ab" * 32
SOON = NOW + timedelta(seconds=1)


def hold(database: SqliteDatabase, *nodes: str, device: str = GPU, seconds: float = 60) -> None:
    until = NOW + timedelta(seconds=seconds)
    for node in nodes:
        held = DeviceHold(device=device, node_id=hex_id(node), until=until)
        database.write(lambda tx, held=held: tx.devices.hold(held))


def holders(database: SqliteDatabase, device: str = GPU, seconds: float = 1) -> tuple[str, ...]:
    at = NOW + timedelta(seconds=seconds)
    return database.read(lambda tx: tx.devices.holders(device, at))


def add(database: SqliteDatabase, *names: str, state: NodeState = NodeState.admitted) -> None:
    for name in names:
        database.write(lambda tx, name=name: tx.nodes.add(a_node(name, state=state)))


def test_every_holder_of_a_device_is_found_and_of_no_other_device(
    database: SqliteDatabase,
) -> None:
    add(database, "one", "two", "three")
    hold(database, "one", "two")
    hold(database, "three", device=GPU + "00")
    assert holders(database) == tuple(sorted((hex_id("one"), hex_id("two"))))
    assert holders(database, "nobody's") == ()


def test_a_hold_ends_at_its_instant_and_showing_the_device_again_moves_it(
    database: SqliteDatabase,
) -> None:
    add(database, "one")
    hold(database, "one", seconds=60)
    assert holders(database, seconds=59.999) == (hex_id("one"),)
    assert holders(database, seconds=60) == ()
    hold(database, "one", seconds=90)
    assert holders(database, seconds=60) == (hex_id("one"),)


@pytest.mark.parametrize("state", sorted(set(NodeState) - {NodeState.admitted}))
def test_a_node_that_is_not_admitted_holds_nothing(
    database: SqliteDatabase, state: NodeState
) -> None:
    add(database, "one", state=state)
    hold(database, "one")
    assert holders(database) == ()


def test_only_nodes_hold_devices(database: SqliteDatabase) -> None:
    with pytest.raises(DomainError):
        hold(database, "nobody")


def test_what_has_ended_is_forgotten_in_bounded_steps(database: SqliteDatabase) -> None:
    add(database, "one", "two", "three")
    hold(database, "one", "two", seconds=1)
    hold(database, "three", seconds=2)
    assert [database.write(lambda tx: tx.devices.purge(SOON, limit=1)) for _ in range(3)] == [
        1,
        1,
        0,
    ]
    assert holders(database, seconds=0) == (hex_id("three"),)
