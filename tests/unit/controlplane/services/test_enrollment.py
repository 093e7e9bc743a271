"""Enrolment through the service over real parts: who is one of us, and who stays apart (F5, F6)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest
from fakes.control_plane import GOOD, OTHER, World, chip, masked_chip, provider_chip
from fakes.hooked_database import HookedDatabase
from fakes.instances import Instance, admitted, lease_states, leased
from sealward_devkit.platform import Platform

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.nodes import Node, NodeState
from sealward.controlplane.domain.policies import Admission
from sealward.controlplane.services.nodes import NodeMove
from sealward.verifier.rats.binding import Purpose
from sealward.verifier.rats.result import Posture


def node_of(here: World, instance: Instance) -> Node:
    return here.plane.database.read(lambda tx: tx.nodes.get(instance.node_id))


def enrolled(here: World, **how: Any) -> tuple[Instance, Admission, str]:  # noqa: ANN401 - fields of Instance
    instance = Instance(here.plane.trust, **how)
    token = ""
    if how.get("platform") == provider_chip():
        token = here.plane.admin.join_tokens.create(here.admin).text
    answer = instance.enroll(here, join_token=token)
    return instance, answer.admission, answer.code


def test_a_known_platform_with_a_known_image_is_admitted(here: World) -> None:
    instance, admission, code = enrolled(here)
    assert (admission, code) == (Admission.ADMIT, "")
    node = node_of(here, instance)
    assert (node.state, node.posture) == (NodeState.admitted, Posture.COMPLIANT)
    assert node.development


def test_a_measurement_is_not_an_owner(here: World) -> None:
    """F6: our image on hardware that nobody vouched for pends, whatever it measures."""
    instance, admission, code = enrolled(here, platform=chip("basement"))
    assert (admission, code) == (Admission.PEND, "platform_unknown")
    assert instance.chain == ()
    with pytest.raises(Refused) as caught:
        instance.attest(here)
    assert caught.value.code is Code.node_pending


def test_a_person_can_admit_what_pends(here: World) -> None:
    instance, _, _ = enrolled(here, platform=chip("basement"))
    here.plane.admin.nodes.move(here.admin, instance.node_id, NodeMove.admit, reason="ours")
    assert instance.enroll(here).admission is Admission.ADMIT
    assert instance.attest(here).posture is Posture.COMPLIANT


def test_an_unknown_image_is_rejected_on_a_known_platform(here: World) -> None:
    _, admission, code = enrolled(here, measurement=secrets.token_bytes(48))
    assert (admission, code) == (Admission.REJECT, "unknown_measurement")


def test_a_join_token_vouches_once(here: World) -> None:
    token = here.plane.admin.join_tokens.create(here.admin, labels=(("site", "berlin"),)).text
    first = Instance(here.plane.trust, platform=chip("basement"))
    assert first.enroll(here, join_token=token).admission is Admission.ADMIT
    assert node_of(here, first).labels_assigned == (("site", "berlin"),)
    second = Instance(here.plane.trust, platform=chip("basement"))
    with pytest.raises(Refused) as caught:
        second.enroll(here, join_token=token)
    assert caught.value.code is Code.join_token_spent


@pytest.mark.parametrize("text", ["x", "0" * 32 + ".secret", "\0", "é"])
def test_a_join_token_that_is_not_ours_is_an_error(here: World, text: str) -> None:
    before = here.content(without=("spent_challenges", "attempts"))
    with pytest.raises(Refused) as caught:
        Instance(here.plane.trust).enroll(here, join_token=text)
    assert caught.value.code is Code.join_token_invalid
    assert here.content(without=("spent_challenges", "attempts")) == before


def test_a_denied_platform_is_rejected_whatever_it_shows(here: World) -> None:
    platform_id = chip().platform_id
    assert platform_id is not None
    here.plane.admin.platforms.deny(here.admin, platform_id, note="broken")
    _, admission, code = enrolled(here)
    assert (admission, code) == (Admission.REJECT, "platform_denied")


def test_masking_its_chip_id_takes_no_guest_off_a_denied_platform(here: World) -> None:
    """The key that signs is certified for the chip, so its host cannot hide that we deny it."""
    platform_id = chip().platform_id
    assert platform_id is not None
    masked, admission, _ = enrolled(here, platform=masked_chip())
    assert admission is Admission.ADMIT
    assert node_of(here, masked).platform_id == platform_id
    here.plane.admin.platforms.deny(here.admin, platform_id, note="broken")
    token = here.plane.admin.join_tokens.create(here.admin).text
    answer = Instance(here.plane.trust, platform=masked_chip()).enroll(here, join_token=token)
    assert (answer.admission, answer.code) == (Admission.REJECT, "platform_denied")
    here.plane.sweeper.run()
    assert node_of(here, masked).posture is not Posture.COMPLIANT


# F5: instances, not chips.

SHARED = pytest.mark.parametrize(
    "shared",
    [chip(), masked_chip(), provider_chip()],
    ids=["one chip", "a masked chip", "a provider's host"],
)


@SHARED
def test_two_guests_of_one_platform_are_two_nodes_that_cannot_touch_each_other(
    here: World, shared: Platform
) -> None:
    mine, admission, _ = enrolled(here, platform=shared)
    assert admission is Admission.ADMIT
    yours, admission, _ = enrolled(here, platform=shared)
    assert admission is Admission.ADMIT
    mine.attest(here)
    yours.attest(here)
    a, b = node_of(here, mine), node_of(here, yours)
    assert a.node_id != b.node_id
    assert a.instance_value != b.instance_value
    assert a.platform_id == b.platform_id
    assert a.platform_id == (None if shared == provider_chip() else chip().platform_id)
    # Whatever becomes of one of them is nothing to the other.
    here.plane.admin.nodes.quarantine(here.admin, yours.node_id, reason="a test")
    here.plane.sweeper.run()
    assert node_of(here, mine) == a
    assert [s[0] for s in lease_states(here, mine).values()] == ["active"]
    assert [s[0] for s in lease_states(here, yours).values()] == ["ended"]
    assert mine.attest(here).posture is Posture.COMPLIANT


@SHARED
def test_a_neighbour_cannot_answer_for_a_node(here: World, shared: Platform) -> None:
    """Evidence of another guest on the same chip, even with the victim's key and state stolen."""
    victim, _, _ = enrolled(here, platform=shared)
    victim.attest(here)
    thief = replace(victim.copy(), report_id=secrets.token_bytes(32))
    with pytest.raises(Refused) as caught:
        thief.attest(here)
    assert caught.value.code is Code.instance_changed


def test_a_stolen_key_does_not_enrol_another_instance(here: World) -> None:
    """Otherwise an operator's consent to one instance would carry over to hardware of the thief."""
    victim = leased(here)
    before = node_of(here, victim)
    thief = replace(
        victim.copy(), platform=chip("basement"), report_id=secrets.token_bytes(32), ratchet=None
    )
    with pytest.raises(Refused) as caught:
        thief.enroll(here)
    assert caught.value.code is Code.instance_changed
    after = node_of(here, victim)
    assert (after.hpke_public, after.instance_value, after.platform_id) == (
        before.hpke_public,
        before.instance_value,
        before.platform_id,
    )


# Enrolling again.


def test_enrolling_again_keeps_leases_and_ratchet(here: World) -> None:
    instance = leased(here)
    held = instance.held
    assert instance.enroll(here).admission is Admission.ADMIT
    instance.attest(here)
    assert instance.held == held


def test_an_attestation_beside_an_enrolment_does_not_turn_the_ratchet_back(here: World) -> None:
    instance = leased(here)
    done: list[int] = []

    def attest_once() -> None:
        if not done:
            done.append(1)
            instance.attest(here)

    service = replace(
        here.plane.enrollment,
        database=HookedDatabase(here.plane.database, before_write=attest_once),
    )
    answer = service.enroll(instance.enroll_call(instance.presented(here, Purpose.ENROLL)))
    assert answer.admission is Admission.ADMIT
    assert instance.attest(here).posture is Posture.COMPLIANT


def test_two_enrolments_of_one_key_at_once_make_one_node(here: World) -> None:
    instance = Instance(here.plane.trust)
    done: list[int] = []

    def enroll_once() -> None:
        if not done:
            done.append(1)
            instance.enroll(here)

    service = replace(
        here.plane.enrollment,
        database=HookedDatabase(here.plane.database, before_write=enroll_once),
    )
    answer = service.enroll(instance.enroll_call(instance.presented(here, Purpose.ENROLL)))
    assert answer.admission is Admission.ADMIT
    assert here.rows("SELECT count(*) FROM nodes") == [(1,)]


def test_a_node_that_is_rejected_at_a_new_enrolment_loses_its_leases(here: World) -> None:
    instance = leased(here)
    here.withdraw(GOOD)
    answer = instance.enroll(here)
    assert (answer.admission, answer.code) == (Admission.REJECT, "unknown_measurement")
    here.plane.sweeper.run()
    (state,) = lease_states(here, instance).values()
    assert (state[0], state[2]) == ("ended", "open")


def test_retirement_outlives_every_enrolment(here: World) -> None:
    instance = admitted(here)
    here.plane.admin.nodes.move(here.admin, instance.node_id, NodeMove.retire, reason="a test")
    for _ in range(3):
        answer = instance.enroll(here)
        assert (answer.admission, answer.code) == (Admission.REJECT, "node_retired")
        assert node_of(here, instance).state is NodeState.retired


def test_a_node_that_was_rejected_may_come_back_when_the_reason_is_gone(here: World) -> None:
    instance, _, _ = enrolled(here, measurement=secrets.token_bytes(48))
    instance.measurement = OTHER
    instance_again = replace(instance)
    assert instance_again.enroll(here).admission is Admission.ADMIT


def test_a_crash_after_the_commit_of_an_enrolment_costs_nothing(here: World) -> None:
    """The certificate was lost on the way: enrolling again gives one for the same node."""
    instance = Instance(here.plane.trust)
    instance.enroll(here)
    assert instance.enroll(here).certificate is not None
    assert here.rows("SELECT count(*) FROM nodes") == [(1,)]
