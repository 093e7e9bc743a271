"""What a node's kernel measured, from its list to its leases (docs/specs/ima-claims.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import measuring_machines
from fakes.control_plane import World, shipped_files, world
from fakes.hooked_database import HookedDatabase
from fakes.instances import Instance, lease_states
from fakes.measuring_machines import AGENT, FILES, MeasuringInstance, MeasuringMachine, admitted

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.runtime_logs import KeptRuntimeLog
from sealward.protos.tpm_node import MAX_RUNTIME_LOG
from sealward.verifier.composite.ima_log import ListPart
from sealward.verifier.formats.ima import state as states
from sealward.verifier.rats.binding import Purpose
from sealward.verifier.rats.result import Posture
from sealward.verifier.wire.tcg_hash import HashAlg

NEW = b"a program that nobody reviewed"


def on(here: World, **settings: Any) -> MeasuringMachine:  # noqa: ANN401 - fields of the machine
    machine = MeasuringMachine(label="machine a", **settings)
    measuring_machines.ready(here, machine)
    return machine


def attested(here: World) -> MeasuringInstance:
    node = admitted(here, on(here))
    node.attest(here)
    assert node.held
    return node


def refused(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def ima(here: World) -> dict[str, Any]:
    ((claims,),) = here.rows("SELECT claims FROM node_evidence")
    found: dict[str, Any] = json.loads(str(claims))["ima"]  # noqa: TID251 - our own output
    return found


def reasons(here: World) -> str:
    return str(here.rows("SELECT reasons FROM node_evidence"))


def with_settings(here: World, **settings: object) -> None:
    """Activate the shipped appraisal policy with these settings; its tests are of the defaults."""
    shipped = shipped_files(PolicyKind.APPRAISAL)
    files = {name: text for name, text in shipped.items() if not name.endswith("_test.rego")}
    files = {name: text for name, text in files.items() if not name.startswith("samples/")}
    data = {"sealward": {"appraisal": {"settings": {"ima": settings}}}}
    here.activate(PolicyKind.APPRAISAL, {**files, "data.json": json.dumps(data)})


# A node in order.


def test_a_node_whose_files_are_all_known_is_in_order(here: World) -> None:
    node = admitted(here, on(here))
    answer = node.attest(here)
    assert (answer.denials, answer.posture) == ((), Posture.WARNING)
    assert (answer.runtime_log_next, len(node.content_keys)) == (2, 1)
    told = ima(here)
    assert (told["entries"], told["not_proven"], told["boot_aggregate"]) == (2, 0, "confirmed")
    assert (told["known"]["count"], told["unknown"]) == (1, {"count": 0, "shown": []})


def test_entries_are_sent_once(here: World) -> None:
    node = attested(here)
    measuring_machines.know(here, b"one", b"two", set_name="more")
    for count, content in ((3, b"one"), (4, b"two")):
        node.kernel.measure(f"/usr/bin/{count}", content)
        part = node.list_part(Purpose.ATTEST)
        assert part is not None
        assert part.first == count - 1
        assert node.attest(here).runtime_log_next == count
        assert (ima(here)["entries"], ima(here)["known"]["count"]) == (count, count - 1)


def test_a_renewal_without_new_entries_keeps_what_is_kept(here: World) -> None:
    node = attested(here)
    before = here.rows("SELECT * FROM runtime_logs")
    assert node.attest(here).runtime_log_next == 2
    assert here.rows("SELECT * FROM runtime_logs") == before
    assert ima(here)["known"]["count"] == 1


# Files that are not known.


def test_an_unknown_file_is_told_by_its_path_and_ends_the_leases(here: World) -> None:
    node = attested(here)
    node.kernel.measure("/tmp/unreviewed", NEW)  # noqa: S108 - a name in a list
    answer = node.attest(here)
    assert (answer.code, answer.posture.passing) == ("unknown_file", False)
    assert "claims.ima.unknown[/tmp/unreviewed]" in reasons(here)
    assert hashlib.sha256(NEW).hexdigest() in reasons(here)
    assert [state for state, _, _ in lease_states(here, node).values()] == ["ended"]


def test_a_node_is_in_order_again_when_the_file_becomes_known(here: World) -> None:
    node = attested(here)
    node.kernel.measure("/usr/bin/new", NEW)
    assert node.attest(here).code == "unknown_file"
    measuring_machines.know(here, NEW, set_name="reviewed")
    assert node.attest(here).denials == ()
    assert len(node.held) == 1


def test_a_node_enrols_with_an_unknown_file_as_the_policies_say(here: World) -> None:
    machine = on(here)
    machine.kernel.measure("/usr/bin/new", NEW)
    node = MeasuringInstance(here.plane.trust, machine=machine, made=here.clock.now())
    node.enroll(here)
    assert "claims.ima.unknown[/usr/bin/new]" in reasons(here)


def test_what_is_below_an_excluded_folder_may_be_unknown(here: World) -> None:
    with_settings(here, required=True, excluded=["/var/lib/work/"])
    node = attested(here)
    node.kernel.measure("/var/lib/work/model.bin", NEW)
    assert node.attest(here).denials == ()
    assert ima(here)["unknown"]["count"] == 1
    node.kernel.measure("/var/lib/other", NEW + b"!")
    assert node.attest(here).code == "unknown_file"


def test_a_withdrawn_digest_ends_the_lease_of_who_ran_the_file_and_of_nobody_else(
    here: World,
) -> None:
    node = attested(here)
    measuring_machines.know(here, NEW, b"other", set_name="more")
    node.kernel.measure("/usr/bin/new", NEW)
    node.attest(here)
    references = here.plane.admin.references
    for content, state in ((b"other", "active"), (NEW, "ended")):
        key = hashlib.sha256(content).hexdigest()
        references.withdraw(here.admin, "more", "file", key, reason="a test")
        here.settle()
        assert [state for state, _, _ in lease_states(here, node).values()] == [state]
    ((code,),) = here.rows("SELECT posture_code FROM nodes")
    assert code == "unknown_file"
    assert node.attest(here).code == "unknown_file"


def test_a_lease_ends_with_the_set_that_its_files_stand_in(here: World) -> None:
    node = attested(here)
    ((_, ends),) = here.rows("SELECT name, not_after_ms FROM reference_sets WHERE name = ?", FILES)
    assert ends is None
    here.plane.admin.references.revoke(here.admin, FILES, reason="a test")
    here.settle()
    assert [state for state, _, _ in lease_states(here, node).values()] == ["ended"]


def test_a_sweep_for_another_reason_leaves_a_node_with_known_files_alone(here: World) -> None:
    node = attested(here)
    with_settings(here, required=True)
    here.settle()
    assert [state for state, _, _ in lease_states(here, node).values()] == ["active"]


# No list.


def test_a_node_without_a_list_is_in_order_unless_one_is_required(here: World) -> None:
    machine = on(here)
    node = measuring_machines.plain(here, machine)
    answer = node.attest(here)
    assert (answer.denials, answer.runtime_log_next) == ((), 0)
    assert here.rows("SELECT * FROM runtime_logs") == []
    with_settings(here, required=True)
    assert node.attest(here).code == "ima_missing"


def test_a_node_that_stops_to_send_its_list_is_told_from_one_that_never_did(here: World) -> None:
    node = attested(here)
    node.sends_list = False
    node.kernel.measure("/tmp/unreviewed", NEW)  # noqa: S108 - a name in a list
    assert node.attest(here).code == "ima_stopped"
    told = ima(here)
    assert (told["banks"], told["entries"], told["known"]["count"]) == ([], 2, 1)
    assert node.held == frozenset()
    node.sends_list = True
    assert node.attest(here).code == "unknown_file"


def test_a_list_beside_other_evidence_is_no_request(here: World) -> None:
    node = Instance(here.plane.trust)
    part = ListPart(first=0, data=MeasuringMachine().kernel.runtime_measurements())
    presented = replace(node.presented(here, Purpose.ENROLL), runtime_log=part)
    error = refused(lambda: here.plane.enrollment.enroll(node.enroll_call(presented)))
    assert error.code is Code.invalid_request


# What does not fit.


def test_after_a_lost_answer_the_whole_list_is_asked_for(here: World) -> None:
    node = attested(here)
    measuring_machines.know(here, NEW, set_name="reviewed")
    node.kernel.measure("/usr/bin/new", NEW)
    node.attest(here, lost=True)
    error = refused(lambda: node.attest(here))
    assert (error.code, node.next) == (Code.runtime_log_gap, 2)
    node.next = 0
    assert node.attest(here).denials == ()
    assert node.next == 3


@pytest.mark.parametrize("first", [1, 3, 2**63, 2**64 - 1])
def test_a_list_that_begins_elsewhere_is_a_gap(here: World, first: int) -> None:
    node = attested(here)
    node.part = ListPart(first=first, data=b"")
    assert refused(lambda: node.attest(here)).code is Code.runtime_log_gap
    node.part = None
    assert node.attest(here).denials == ()


def test_an_instance_that_sent_none_begins_at_the_first_entry(here: World) -> None:
    machine = on(here)
    node = measuring_machines.plain(here, machine)
    node.machine, node.sends_list, node.next = machine, True, 1
    assert refused(lambda: node.attest(here)).code is Code.runtime_log_gap


@pytest.mark.parametrize("counts", [(8, 3), (7, 4)])
def test_after_a_restart_of_the_tpm_the_whole_list_is_asked_for(
    here: World, counts: tuple[int, int]
) -> None:
    node = attested(here)
    assert isinstance(node.machine, MeasuringMachine)
    node.machine = replace(node.machine, counts=counts)
    assert refused(lambda: node.attest(here)).code is Code.runtime_log_gap
    node.next = 0
    assert node.attest(here).denials == ()


def test_a_list_older_than_the_quote_is_refused(here: World) -> None:
    node = attested(here)
    old = node.kernel.runtime_measurements()
    node.kernel.measure("/tmp/unreviewed", NEW)  # noqa: S108 - a name in a list
    for part in (ListPart(first=0, data=old), ListPart(first=2, data=b"")):
        node.part = part
        error = refused(lambda: node.attest(here))
        assert error.code is Code.evidence_refused
        assert error.detail.startswith("event_log_mismatch: ")
    assert here.rows("SELECT posture FROM nodes") == [("warning",)]


def test_a_list_that_leaves_an_entry_out_is_refused(here: World) -> None:
    node = attested(here)
    node.kernel.measure("/tmp/unreviewed", NEW)  # noqa: S108 - a name in a list
    node.kernel.measure("/usr/bin/sealward-agent", AGENT)
    node.part = ListPart(first=2, data=node.kernel.runtime_measurements(first=3))
    assert refused(lambda: node.attest(here)).code is Code.evidence_refused


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes(MAX_RUNTIME_LOG + 1), Code.payload_too_large),
        (bytes(MAX_RUNTIME_LOG), Code.evidence_malformed),
        (b"\x0a\0\0\0", Code.evidence_malformed),
    ],
)
def test_a_list_beyond_its_budget_or_of_no_entries_is_refused(
    here: World, data: bytes, code: Code
) -> None:
    node = attested(here)
    node.part = ListPart(first=0, data=data)
    assert refused(lambda: node.attest(here)).code is code
    node.part = None
    assert node.attest(here).denials == ()


# What is kept.


def test_a_restarted_control_plane_goes_on_where_it_was(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        node = attested(here)
    with world(tmp_path) as again:
        measuring_machines.know(again, NEW, set_name="reviewed")
        node.kernel.measure("/usr/bin/new", NEW)
        assert (node.next, node.attest(again).runtime_log_next) == (2, 3)
        key = hashlib.sha256(AGENT).hexdigest()
    with world(tmp_path) as swept:
        swept.plane.admin.references.withdraw(swept.admin, FILES, "file", key, reason="a test")
        swept.settle()
        assert [state for state, _, _ in lease_states(swept, node).values()] == ["ended"]


def test_a_node_whose_kept_list_is_damaged_vouches_for_nothing(here: World) -> None:
    node = attested(here)
    damaged = KeptRuntimeLog.of(node.node_id, b"\x80")
    here.plane.database.write(lambda tx: tx.runtime_logs.put(damaged))
    with_settings(here, required=True)
    here.settle()
    ((code,),) = here.rows("SELECT posture_code FROM nodes")
    assert code == "record_unreadable"


def test_a_decision_that_does_not_commit_keeps_nothing(here: World) -> None:
    node = attested(here)
    before = here.rows("SELECT digest FROM runtime_logs")
    node.kernel.measure("/usr/bin/new", NEW)
    presented = replace(node.presented(here, Purpose.ATTEST), binding=b"not what was quoted")
    refused(lambda: here.plane.attestation.attest(node.attest_call(presented)))
    assert here.rows("SELECT digest FROM runtime_logs") == before


def test_of_two_decisions_beside_one_another_the_second_begins_anew(here: World) -> None:
    node = attested(here)
    measuring_machines.know(here, NEW, set_name="reviewed")
    other = KeptRuntimeLog.of(node.node_id, states.encode(states.beginning(7, 3, [HashAlg.SHA256])))
    waiting = [other]

    def race() -> None:
        if waiting:
            here.plane.database.write(lambda tx: tx.runtime_logs.put(waiting.pop()))

    node.kernel.measure("/usr/bin/new", NEW)
    hooked = HookedDatabase(here.plane.database, before_write=race)
    service = replace(here.plane.attestation, database=hooked)
    call = node.attest_call(node.presented(here, Purpose.ATTEST))
    assert refused(lambda: service.attest(call)).code is Code.runtime_log_gap
    assert waiting == []
    assert here.plane.database.read(lambda tx: tx.runtime_logs.find(node.node_id)) == other
