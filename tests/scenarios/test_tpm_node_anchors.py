"""A trust anchor is removed: nothing is decided under it any more, and what was granted ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fakes import tpm_machines
from fakes.control_plane import World
from fakes.hooked_database import HookedDatabase
from fakes.instances import lease_states, leased
from fakes.tpm_cas import BELOW, OTHER_ROOT, ROOT
from fakes.tpm_machines import Machine, TpmInstance

from sealward.controlplane.domain.errors import Code, Refused
from sealward.verifier.rats.binding import Purpose

A = Machine(label="machine a")
ELSEWHERE = Machine(label="machine b", root=OTHER_ROOT)
BELOW_A = Machine(label="machine c", root=BELOW)


def remove(here: World, fingerprint: str) -> None:
    here.plane.admin.trust_anchors.remove(here.admin, fingerprint, reason="a test")


def once(act: Callable[[], None]) -> Callable[[], None]:
    """`act`, the first time only."""
    left = [act]
    return lambda: left.pop()() if left else None


def states(here: World, node: TpmInstance) -> list[tuple[str, str, str]]:
    return list(lease_states(here, node).values())


def ready(here: World, *machines: Machine) -> dict[str, str]:
    """Expect these machines under both roots and the intermediate; fingerprints by name."""
    tpm_machines.expect(here, A)
    for machine in machines:
        tpm_machines.allow(here, machine)
    return {
        "root": tpm_machines.trust(here, ROOT),
        "intermediate": tpm_machines.trust(here, BELOW, issuer=ROOT),
        "other": tpm_machines.trust(here, OTHER_ROOT),
    }


def test_leases_end_on_the_tpms_below_it_and_nowhere_else(here: World) -> None:
    anchors = ready(here, A, ELSEWHERE)
    below, elsewhere = (tpm_machines.admitted(here, m) for m in (A, ELSEWHERE))
    below.attest(here)
    elsewhere.attest(here)
    guest = leased(here)
    here.rung.clear()
    remove(here, anchors["root"])
    here.settle()
    assert states(here, below) == [("ended", "trust_anchor_removed", "open")]
    assert [state for state, _, _ in states(here, elsewhere)] == ["active"]
    assert [state for state, _, _ in lease_states(here, guest).values()] == ["active"]
    assert here.rung == [below.node_id]
    query = "SELECT posture, posture_code, failure_class FROM nodes WHERE node_id = ?"
    expected = ("noncompliant", "trust_anchor_removed", "integrity")
    assert here.rows(query, below.node_id) == [expected]


def test_leases_below_a_removed_intermediate_end_too(here: World) -> None:
    anchors = ready(here, A, BELOW_A)
    direct, below = (tpm_machines.admitted(here, m) for m in (A, BELOW_A))
    direct.attest(here)
    below.attest(here)
    remove(here, anchors["intermediate"])
    here.settle()
    assert states(here, below) == [("ended", "trust_anchor_removed", "open")]
    assert [state for state, _, _ in states(here, direct)] == ["active"]


def test_a_node_below_it_attests_no_more_until_it_is_back(here: World) -> None:
    anchors = ready(here, A)
    node = tpm_machines.admitted(here, A)
    node.attest(here)
    remove(here, anchors["root"])
    here.settle()
    with pytest.raises(Refused) as caught:
        node.attest(here)
    assert caught.value.code is Code.evidence_refused
    tpm_machines.trust(here, ROOT)
    node.held = frozenset()
    assert node.attest(here).denials == ()
    assert len(node.held) == 1


def test_explain_says_which_rule_ended_the_lease(here: World) -> None:
    anchors = ready(here, A)
    node = tpm_machines.admitted(here, A)
    node.attest(here)
    remove(here, anchors["root"])
    here.settle()
    ((reasons,),) = here.rows("SELECT reasons FROM decisions WHERE kind = 'reappraise'")
    assert '"code":"trust_anchor_removed"' in str(reasons)
    assert '"claim":"claims.tpm.ek.issuers_sha256"' in str(reasons)


MACHINES = {"root": A, "intermediate": BELOW_A}


@pytest.mark.parametrize("removed", MACHINES)
@pytest.mark.parametrize("when", ["before_read", "before_write"])
def test_no_lease_is_granted_under_an_anchor_removed_meanwhile(
    here: World, removed: str, when: str
) -> None:
    """F16: between verification and commit, before or after the decision's own reading."""
    anchors = ready(here, A, BELOW_A)
    node = tpm_machines.admitted(here, MACHINES[removed])
    hook = once(lambda: remove(here, anchors[removed]))
    service = replace(
        here.plane.attestation, database=HookedDatabase(here.plane.database, **{when: hook})
    )
    call = node.attest_call(node.presented(here, Purpose.ATTEST))
    with pytest.raises(Refused) as caught:
        service.attest(call)
    assert caught.value.code is Code.evidence_refused
    assert states(here, node) == []
    assert here.rows("SELECT count(*) FROM signed_terms") == [(0,)]
    with pytest.raises(Refused) as caught:
        service.attest(call)
    assert caught.value.code is Code.challenge_spent


@pytest.mark.parametrize("removed", MACHINES)
@pytest.mark.parametrize("when", ["before_read", "before_write"])
def test_no_node_is_admitted_under_an_anchor_removed_meanwhile(
    here: World, removed: str, when: str
) -> None:
    anchors = ready(here, A, BELOW_A)
    node = TpmInstance(here.plane.trust, machine=MACHINES[removed], made=here.clock.now())
    call = node.enroll_call(node.presented(here, Purpose.ENROLL))
    hook = once(lambda: remove(here, anchors[removed]))
    service = replace(
        here.plane.enrollment, database=HookedDatabase(here.plane.database, **{when: hook})
    )
    with pytest.raises(Refused) as caught:
        service.enroll(call)
    assert caught.value.code is Code.evidence_refused
    assert here.rows("SELECT count(*) FROM nodes") == [(0,)]


def test_the_removal_of_an_anchor_that_evidence_does_not_need_costs_a_second_look_only(
    here: World,
) -> None:
    anchors = ready(here, A)
    node = tpm_machines.admitted(here, A)
    hook = once(lambda: remove(here, anchors["other"]))
    service = replace(
        here.plane.attestation, database=HookedDatabase(here.plane.database, before_write=hook)
    )
    answer = service.attest(node.attest_call(node.presented(here, Purpose.ATTEST)))
    assert answer.denials == ()
    assert len(answer.content_keys) == 1


def test_other_nodes_decisions_do_not_wait_for_anchors(here: World) -> None:
    anchors = ready(here, A)
    guest = leased(here)
    removals = [anchors["root"], anchors["other"]]
    writes = 0

    def hook() -> None:
        nonlocal writes
        writes += 1
        if removals:
            remove(here, removals.pop())

    service = replace(
        here.plane.attestation, database=HookedDatabase(here.plane.database, before_write=hook)
    )
    answer = service.attest(guest.attest_call(guest.presented(here, Purpose.ATTEST)))
    assert (writes, answer.denials) == (1, ())


def test_a_node_that_was_swept_twice_is_as_it_was(here: World) -> None:
    anchors = ready(here, A)
    node = tpm_machines.admitted(here, A)
    node.attest(here)
    remove(here, anchors["root"])
    here.settle()
    remove(here, anchors["other"])
    before = here.content(without=("sweeps", "audit_entries", "audit_checkpoints"))
    here.settle()
    assert here.content(without=("sweeps", "audit_entries", "audit_checkpoints")) == before


def test_a_fleet_is_swept_in_pages(here: World) -> None:
    """More nodes than one page, on one TPM and on several: every one of them is visited."""
    anchors = ready(here, A, ELSEWHERE)
    node = tpm_machines.admitted(here, A)
    node.attest(here)
    elsewhere = tpm_machines.admitted(here, ELSEWHERE)

    def copies(tx: object) -> None:
        for number in range(150):
            for source in (node, elsewhere):
                original = tx.nodes.get(source.node_id)  # type: ignore[attr-defined]  # a Transaction
                evidence = tx.evidence.find(source.node_id)  # type: ignore[attr-defined]  # as above
                name = f"{number:04x}{source.node_id[4:]}"
                tx.nodes.add(replace(original, node_id=name))  # type: ignore[attr-defined]  # as above
                tx.evidence.put(replace(evidence, node_id=name))  # type: ignore[attr-defined]  # as above

    here.plane.database.write(copies)
    remove(here, anchors["root"])
    here.settle()
    found = here.rows("SELECT platform_id, posture_code, count(*) FROM nodes GROUP BY 1, 2")
    lowered = (A.platform_id, "trust_anchor_removed", 151)
    assert lowered in found
    assert sum(count for _, _, count in found if isinstance(count, int)) == 302
