"""Nodes with GPUs: one verdict over all of them, and each GPU in one live node only (F8c)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.control_plane import TTL, WORKLOAD, World, chip
from fakes.fleet import GpuInstance, fleet, gpu, otherwise
from fakes.hooked_database import HookedDatabase
from fakes.instances import Instance, admitted, lease_states, sha256
from fakes.nvidia_devices import gpu_blocks

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.services.nodes import NodeMove
from sealward.verifier.pki import certificate
from sealward.verifier.rats.binding import Purpose
from sealward.verifier.rats.result import Posture


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with fleet(tmp_path) as opened:
        yield opened


def machine(here: World, *gpus: int, name: str = "first") -> GpuInstance:
    """A node with these GPUs that has enrolled."""
    node = GpuInstance(here.plane.trust, platform=chip(name), gpus=gpus)
    assert node.enroll(here).code == ""
    return node


def refusal(here: World, node: Instance) -> Refused:
    with pytest.raises(Refused) as caught:
        node.attest(here)
    return caught.value


# --- one verdict ---------------------------------------------------------------------------------


def test_a_node_with_two_gpus_gets_one_verdict_and_keys(here: World) -> None:
    node = machine(here, 0, 1)
    answer = node.attest(here)
    assert answer.denials == ()
    assert answer.posture is Posture.WARNING, "only the agent says that the GPUs are in there"
    assert len(node.content_keys) == len(node.held) == 1
    ((vector,),) = here.rows("SELECT trust_vector FROM node_evidence")
    submods = json.loads(str(vector))["submods"]  # noqa: TID251 - our own record
    assert {label: one["executables"] for label, one in submods.items()} == {"gpu-0": 2, "gpu-1": 2}


def test_firmware_that_no_manifest_knows_gets_nothing(here: World) -> None:
    node = machine(here, 0, 1)
    node.attest(here)
    node.blocks[1] = otherwise(gpu_blocks(), 13)
    answer = node.attest(here)
    assert (answer.posture, answer.code) == (Posture.NONCOMPLIANT, "firmware_unknown")
    assert [(d.workload, d.code) for d in answer.denials] == [(WORKLOAD, "posture_noncompliant")]
    ((state, cause, _),) = lease_states(here, node).values()
    assert (state, cause) == ("ended", "firmware_unknown")


def test_a_gpu_that_answers_another_challenge_is_refused_with_its_machine(here: World) -> None:
    node = machine(here, 0)
    node.answering = bytes(32)
    assert refusal(here, node).code is Code.binding_mismatch
    assert node.held == frozenset()


def test_one_gpu_is_not_two(here: World) -> None:
    node = machine(here, 0)
    node.gpus = (0, 0)
    assert refusal(here, node).detail.startswith("device_repeated: ")


def test_a_driver_whose_manifest_nobody_holds_is_refused_by_what_is_missing(here: World) -> None:
    node = machine(here, 0)
    node.driver = "999.99"
    error = refusal(here, node)
    assert "NV_GPU_DRIVER_GH100_999.99" in f"{error}"


def test_distrust_of_one_gpu_ends_what_its_node_holds(here: World) -> None:
    node, other = machine(here, 0), machine(here, 1, name="second")
    for one in (node, other):
        assert one.attest(here).denials == ()
    value = {
        "reason": "its key is known",
        "published": "2026-05-01",
        "product": None,
        "platform_id": device(0),
        "provider": None,
    }
    values = [{"kind": "distrust", "key": "a-gpu", "value": value}]
    body = json.dumps({"name": "breaks", "not_after": None, "values": values}).encode()
    here.plane.admin.references.import_set(here.admin, body, activate=True)
    here.settle()
    assert list(lease_states(here, node).values()) == [("ended", "distrusted", "open")]
    assert [state for state, _, _ in lease_states(here, other).values()] == ["active"]


# --- elsewhere -----------------------------------------------------------------------------------


def device(number: int) -> str:
    """The platform id of a GPU."""
    return f"nvidia:device:{sha256(certificate.parse(gpu(number).path[1]).spki)}"


def states(here: World, *nodes: Instance) -> list[tuple[str, str]]:
    """State and end cause of the newest lease of each."""
    return [list(lease_states(here, node).values())[-1][:2] for node in nodes]


ELSEWHERE = ("ended", "device_elsewhere")


def test_a_gpu_in_two_live_nodes_is_held_against_both(here: World) -> None:
    first, second = machine(here, 0, 1), machine(here, 1, name="second")
    assert first.attest(here).denials == ()
    answer = second.attest(here)
    assert (answer.posture, answer.code) == (Posture.NONCOMPLIANT, "device_elsewhere")
    assert [d.code for d in answer.denials] == ["posture_noncompliant"]
    here.plane.sweeper.run()
    assert states(here, first) == [ELSEWHERE]
    assert here.rows("SELECT DISTINCT posture, posture_code FROM nodes") == [
        ("noncompliant", "device_elsewhere")
    ]
    assert first.attest(here).code == "device_elsewhere"
    assert second.attest(here).code == "device_elsewhere"
    assert here.plane.database.read(lambda tx: tx.sweeps.running()) == ()


def test_from_the_commit_on_the_other_renews_nothing(here: World) -> None:
    """Without any sweep: its fence has moved, and a new decision sees both."""
    first, second = machine(here, 0), machine(here, 0, name="second")
    first.attest(here)
    second.attest(here)
    assert first.attest(here).code == "device_elsewhere"
    assert first.held == frozenset()


def test_two_that_take_a_gpu_at_one_instant_do_not_both_get_keys(here: World) -> None:
    """What another commits between reading and writing is seen before anything is granted."""
    first, second = machine(here, 0), machine(here, 0, name="second")
    attestation = here.plane.attestation
    other = [lambda: first.attest(here)]

    def between() -> None:
        if other:
            other.pop()()

    hooked = replace(
        attestation, database=HookedDatabase(here.plane.database, before_write=between)
    )
    shown = second.presented(here, Purpose.ATTEST)
    answer = hooked.attest(second.attest_call(shown))
    assert answer.code == "device_elsewhere"
    assert not other
    here.plane.sweeper.run()
    assert states(here, first) == [ELSEWHERE]


def test_when_one_of_two_has_gone_the_other_passes_by_itself(here: World) -> None:
    first, second = machine(here, 0), machine(here, 0, name="second")
    first.attest(here)
    second.attest(here)
    here.settle()
    here.clock.advance(TTL)
    here.settle()
    assert second.attest(here).denials == ()
    assert here.rows("SELECT count(*) FROM device_holds") == [(1,)]


def test_a_node_holds_its_gpu_until_its_lease_ends(here: World) -> None:
    first, second = machine(here, 0), machine(here, 0, name="second")
    first.attest(here)
    here.clock.advance(TTL - timedelta(seconds=2))
    assert second.attest(here).code == "device_elsewhere"


def test_a_retired_node_holds_no_gpu(here: World) -> None:
    first, second = machine(here, 0), machine(here, 0, name="second")
    first.attest(here)
    here.plane.admin.nodes.move(here.admin, first.node_id, NodeMove.retire, reason="a test")
    assert second.attest(here).denials == ()


def test_a_stranger_with_the_gpu_takes_nothing_from_its_node(here: World) -> None:
    """Enrolment takes nobody's keys away: what was not admitted holds nothing."""
    node = machine(here, 0)
    node.attest(here)
    stranger = GpuInstance(here.plane.trust, platform=chip("nobody's"), gpus=(0,))
    assert stranger.enroll(here).code != ""
    here.settle()
    assert node.attest(here).denials == ()
    assert [state for state, _ in states(here, node)] == ["active"]


def test_enrolling_again_makes_nobody_forget_where_a_gpu_is(here: World) -> None:
    """Else a node would be called good, by results too, until it attests."""
    first, second = machine(here, 0), machine(here, 0, name="second")
    first.attest(here)
    second.attest(here)
    here.settle()
    here.clock.advance(timedelta(seconds=1))
    second.enroll(here)
    node = here.plane.database.read(lambda tx: tx.nodes.get(second.node_id))
    assert (node.posture, node.posture_code) == (Posture.NONCOMPLIANT, "device_elsewhere")


def test_nodes_without_gpus_hold_nothing(here: World) -> None:
    admitted(here).attest(here)
    assert here.rows("SELECT count(*) FROM device_holds") == [(0,)]


def test_other_gpus_of_the_same_kind_are_other_gpus(here: World) -> None:
    first, second = machine(here, 0), machine(here, 1, name="second")
    for node in (first, second):
        assert node.attest(here).denials == ()
    here.settle()
    assert [state for state, _ in states(here, first, second)] == ["active", "active"]
