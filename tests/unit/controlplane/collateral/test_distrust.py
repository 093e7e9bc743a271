"""The distrust list: genuine signatures that prove nothing any more (F6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.control_plane import World, chip, world
from fakes.instances import admitted, lease_states, leased

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.services import reference_documents
from sealward.controlplane.services.nodes import NodeMove

SHIPPED = Path(__file__).resolve().parents[4] / "docs" / "distrust"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as opened:
        yield opened


def entry(key: str = "a-break", **criteria: str) -> dict[str, object]:
    value: dict[str, object] = {
        "reason": "its root seed is known",
        "published": "2026-05-01",
        "product": None,
        "platform_id": None,
        "provider": None,
    }
    return {"kind": "distrust", "key": key, "value": value | criteria}


def document(*values: object, name: str = "breaks") -> bytes:
    return json.dumps({"name": name, "not_after": None, "values": list(values)}).encode()


def distrust(here: World, **criteria: str) -> None:
    data = document(entry(**criteria))
    here.plane.admin.references.import_set(here.admin, data, activate=True)
    here.settle()


def test_leases_on_distrusted_hardware_end_and_are_exposed(here: World) -> None:
    instance = leased(here)
    distrust(here, product="Milan")
    assert list(lease_states(here, instance).values()) == [("ended", "distrusted", "open")]
    node = here.plane.database.read(lambda tx: tx.nodes.get(instance.node_id))
    assert node.posture_code == "distrusted"


def test_leases_of_the_past_are_exposed_too_even_of_a_retired_node(here: World) -> None:
    instance = leased(here)
    here.clock.advance(
        here.plane.admin.workloads.page(here.admin, limit=1, after=None).items[0].ttl
    )
    here.settle()
    assert [state[0] for state in lease_states(here, instance).values()] == ["ended"]
    here.plane.admin.nodes.move(here.admin, instance.node_id, NodeMove.retire, reason="a test")
    here.settle()
    distrust(here, platform_id=chip().platform_id)
    ((_, _, exposure),) = lease_states(here, instance).values()
    assert exposure == "open"


def test_the_case_of_an_entry_is_no_way_out(here: World) -> None:
    instance = leased(here)
    kind, _, chip_id = str(chip().platform_id).rpartition(":")
    distrust(here, platform_id=f"{kind}:{chip_id.upper()}", product="MILAN")
    assert list(lease_states(here, instance).values()) == [("ended", "distrusted", "open")]


def test_other_hardware_is_left_alone(here: World) -> None:
    instance = leased(here)
    distrust(here, product="Genoa")
    distrusted = document(
        entry("both", product="Milan", platform_id=chip("second").platform_id), name="others"
    )
    here.plane.admin.references.import_set(here.admin, distrusted, activate=True)
    here.settle()
    assert list(lease_states(here, instance).values()) == [("active", "", "bounded")]


def test_a_distrusted_platform_is_not_admitted(here: World) -> None:
    distrust(here, platform_id=chip().platform_id)
    with pytest.raises(AssertionError):
        admitted(here)


def test_a_staged_entry_is_only_data(here: World) -> None:
    data = document(entry(product="Milan"))
    here.plane.admin.references.import_set(here.admin, data, activate=False)
    here.settle()
    assert leased(here).held


def test_an_entry_that_is_taken_back_counts_no_more(here: World) -> None:
    distrust(here, product="Milan")
    here.plane.admin.references.withdraw(
        here.admin, "breaks", "distrust", "a-break", reason="a correction"
    )
    here.settle()
    assert leased(here).held


def test_taking_distrust_back_gives_access_and_needs_the_right_for_that(here: World) -> None:
    distrust(here, product="Milan")
    operator = Principal(
        principal_id="p-op", name="op", roles=(Role.operator,), created=here.clock.now()
    )
    references = here.plane.admin.references
    for attempt in (
        lambda: references.withdraw(operator, "breaks", "distrust", "a-break", reason="x"),
        lambda: references.revoke(operator, "breaks", reason="x"),
    ):
        with pytest.raises(Refused) as caught:
            attempt()
        assert caught.value.code is Code.forbidden


@pytest.mark.parametrize(
    "value",
    [
        {"product": None},
        {"product": ""},
        {"product": 1},
        {"product": "Milan", "reason": ""},
        {"product": "Milan", "published": "May"},
        {"product": "Milan", "more": "x"},
        {"product": "Mi\nlan"},
    ],
)
def test_an_entry_is_of_its_form(value: dict[str, object]) -> None:
    made = entry()
    made["value"] |= value
    with pytest.raises(Refused) as caught:
        reference_documents.read(document(made))
    assert caught.value.code is Code.reference_invalid


def test_a_set_does_not_say_at_once_what_to_trust_and_what_not() -> None:
    floor = {"kind": "tcb_floor", "key": "snp/Milan", "value": {"snp": 22}}
    with pytest.raises(Refused, match="does both"):
        reference_documents.read(document(entry(product="Milan"), floor))


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.json")), ids=lambda file: file.stem)
def test_the_lists_that_come_with_the_documentation_can_be_imported(file: Path) -> None:
    read = reference_documents.read(file.read_bytes())
    assert {value.kind for value in read.values} == {"distrust"}


def test_there_are_such_lists() -> None:
    assert len(list(SHIPPED.glob("*.json"))) == 2
