"""Attest, appraise, lease, through the service over real parts."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.control_plane import (
    GOOD,
    MODEL,
    TTL,
    UNMEASURED_AGENT,
    WORKLOAD,
    World,
    create_workload,
    register,
    world,
)
from fakes.hooked_database import Crash, HookedDatabase
from fakes.instances import Instance, admitted, lease_states, leased

from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.services.attestation import MAX_WORKLOADS
from sealward.controlplane.services.nodes import NodeMove
from sealward.protos.terms import LeaseTermsState
from sealward.sealing import hpke
from sealward.verifier.rats.binding import Purpose
from sealward.verifier.rats.result import Posture


def content_key(here: World, workload: str = WORKLOAD, version: int = 1) -> bytes:
    """The key that the registered model is sealed under, opened as the release core opens it."""
    model, key = here.plane.database.read(
        lambda tx: (tx.models.get(workload, MODEL, version), tx.workloads.latest_key(workload))
    )
    return bytes(here.plane.attestation.core.content_key(model, key))


def code_of(here: World, instance: Instance, workloads: tuple[str, ...] = (WORKLOAD,)) -> Code:
    with pytest.raises(Refused) as caught:
        instance.attest(here, workloads)
    return caught.value.code


def test_a_compliant_node_gets_a_lease_and_the_content_key(here: World) -> None:
    instance = leased(here)
    assert list(instance.content_keys.values()) == [content_key(here)]
    ((lease_id, state),) = lease_states(here, instance).items()
    assert state == ("active", "", "bounded")
    assert instance.held == {bytes.fromhex(lease_id)}


def test_a_renewal_moves_the_horizon_and_no_key(here: World) -> None:
    instance = leased(here)
    before = instance.held
    instance.content_keys.clear()
    here.clock.advance(TTL / 2)
    answer = instance.attest(here)
    assert instance.held == before
    assert answer.content_keys == ()
    (lease,) = instance.verified(answer.terms).terms.leases
    assert lease.state is LeaseTermsState.RENEWED
    assert lease.ttl_ms == TTL // timedelta(milliseconds=1)
    assert lease.not_after_ms == int((here.clock.now() + TTL).timestamp() * 1000)


def test_the_horizon_counts_from_the_challenge_and_not_from_its_answer(here: World) -> None:
    """F7: evidence made early and sent late gains nothing."""
    instance = admitted(here)
    presented = instance.presented(here, Purpose.ATTEST)
    issued = here.clock.now()
    here.clock.advance(timedelta(seconds=29))
    presented = replace(presented, received=here.clock.now())
    answer = here.plane.attestation.attest(instance.attest_call(presented))
    (lease,) = instance.verified(answer.terms).terms.leases
    assert lease.not_after_ms == int((issued + TTL).timestamp() * 1000)
    assert lease.ttl_ms == (TTL - timedelta(seconds=29)) // timedelta(milliseconds=1)


@pytest.mark.parametrize("suite", hpke.Suite)
def test_keys_are_wrapped_to_the_key_that_this_evidence_binds(
    here: World, suite: hpke.Suite
) -> None:
    """F9: the HPKE key rotates; the answer must open with the new one."""
    instance = admitted(here)
    instance.hpke_key = hpke.PrivateKey.generate(suite, secrets.token_bytes)
    instance.attest(here)  # opens the ratchet secret and the content key
    assert list(instance.content_keys.values()) == [content_key(here)]


def test_an_answer_lost_before_anything_arrived_costs_nothing(here: World) -> None:
    instance = admitted(here)
    for _ in range(3):
        instance.attest(here, lost=True)
    instance.attest(here)
    assert list(instance.content_keys.values()) == [content_key(here)]
    states = lease_states(here, instance)
    (active,) = (lease for lease, state in states.items() if state[0] == "active")
    assert instance.held == {bytes.fromhex(active)}
    assert all(s[1] == "not held" for lease, s in states.items() if lease != active)


def test_keys_of_a_lease_that_the_agent_does_not_hold_are_sent_again(here: World) -> None:
    instance = leased(here)
    (lease_id,) = instance.held
    instance.held, instance.content_keys = frozenset(), {}  # the answer arrived, then all was lost
    instance.attest(here)
    assert list(instance.content_keys.values()) == [content_key(here)]
    (held,) = instance.held
    states = lease_states(here, instance)
    assert states[held.hex()][0] == "active"
    assert states[lease_id.hex()][:2] == ("ended", "not held")  # an id is never revived
    assert here.rows("SELECT count(*) FROM lease_models") == [(2,)]  # both stand in the ledger


@pytest.mark.parametrize("first", [True, False], ids=["first attestation", "renewal"])
def test_a_crash_between_commit_and_answer_costs_nothing(tmp_path: Path, *, first: bool) -> None:
    def crash() -> None:
        raise Crash

    with world(tmp_path) as here:
        instance = admitted(here) if first else leased(here)
        service = replace(
            here.plane.attestation,
            database=HookedDatabase(here.plane.database, after_write=crash),
        )
        call = instance.attest_call(instance.presented(here, Purpose.ATTEST))
        with pytest.raises(Crash):
            service.attest(call)
        assert [s[0] for s in lease_states(here, instance).values()] == ["active"]
    with world(tmp_path) as here:
        instance.attest(here)
        assert list(instance.content_keys.values()) == [content_key(here)]  # had, or got again
        states = lease_states(here, instance)
        (active,) = (lease for lease, state in states.items() if state[0] == "active")
        assert instance.held == {bytes.fromhex(active)}


def test_a_crash_before_the_commit_leaves_nothing(tmp_path: Path) -> None:
    def crash() -> None:
        raise Crash

    with world(tmp_path) as here:
        instance = admitted(here)
        before = here.content()
        service = replace(
            here.plane.attestation,
            database=HookedDatabase(here.plane.database, before_write=crash),
        )
        with pytest.raises(Crash):
            service.attest(instance.attest_call(instance.presented(here, Purpose.ATTEST)))
        assert here.content() == before


def test_an_unknown_measurement_gets_no_key_and_says_why(here: World) -> None:
    instance = leased(here)
    here.withdraw()
    answer = instance.attest(here)
    assert (answer.posture, answer.code) == (Posture.NONCOMPLIANT, "unknown_measurement")
    assert answer.content_keys == ()
    assert [d.code for d in answer.denials] == ["posture_noncompliant"]
    assert instance.held == frozenset()
    (state,) = lease_states(here, instance).values()
    assert state == ("ended", "unknown_measurement", "open")
    assert here.rows("SELECT exposure_reason FROM leases") == [("unknown_measurement",)]
    decisions = here.plane.admin.explanations.of_node(here.admin, instance.node_id).decisions
    (refused,) = (d for d in decisions if d.code == "unknown_measurement")
    assert GOOD.hex() in refused.reasons


def test_an_image_whose_agent_is_not_measured_gets_no_key(here: World) -> None:
    instance = admitted(here, measurement=UNMEASURED_AGENT)
    answer = instance.attest(here)
    assert answer.posture is Posture.COMPLIANT
    assert [d.code for d in answer.denials] == ["agent_not_measured"]
    assert answer.content_keys == ()
    assert lease_states(here, instance) == {}


def test_pins_that_the_launch_did_not_measure_are_refused(here: World) -> None:
    """F15: HOST_DATA is the digest of the trust configuration."""
    instance = Instance(here.plane.trust, host_data=bytes(32))
    answer = instance.enroll(here)
    assert (answer.certificate, answer.code) == (None, "trust_config_mismatch")


def test_each_workload_is_decided_alone(here: World) -> None:
    create_workload(here.plane, here.admin, "other")
    instance = admitted(here)
    answer = instance.attest(here, (WORKLOAD, "missing", "other", WORKLOAD))
    assert [(d.workload, d.code) for d in answer.denials] == [("missing", "workload_unknown")]
    assert len(instance.held) == 2
    assert set(instance.content_keys.values()) == {content_key(here), content_key(here, "other")}


def test_what_is_not_asked_for_any_more_ends(here: World) -> None:
    instance = leased(here)
    instance.attest(here, ())
    assert instance.held == frozenset()
    assert [s[:2] for s in lease_states(here, instance).values()] == [("ended", "not asked for")]


def test_names_that_no_workload_can_have_are_refused(here: World) -> None:
    instance = admitted(here)
    before = here.content()
    for name in ("", "UPPER", "x" * 64, "a\x1b[31m", "a\n"):
        assert code_of(here, instance, (name,)) is Code.invalid_request
    assert code_of(here, instance, (WORKLOAD,) * (MAX_WORKLOADS + 1)) is Code.invalid_request
    assert here.content() == before


def test_a_workload_has_no_more_instances_than_it_allows(here: World) -> None:
    """F35; a holder renews at the limit, and its end makes room."""
    create_workload(here.plane, here.admin, "single", max_instances=1)
    first, second = admitted(here), admitted(here)
    first.attest(here, ("single",))
    assert [d.code for d in second.attest(here, ("single",)).denials] == ["too_many_instances"]
    assert first.attest(here, ("single",)).denials == ()
    first.attest(here, ())
    assert second.attest(here, ("single",)).denials == ()


def test_a_new_model_version_travels_at_the_next_renewal(here: World) -> None:
    instance = leased(here)
    register(here.plane, here.admin, WORKLOAD, version=2)
    answer = instance.attest(here)
    (lease,) = instance.verified(answer.terms).terms.leases
    assert [(m.version, m.min_version) for m in lease.models] == [(2, 1)]
    assert content_key(here, version=2) in instance.content_keys.values()


def test_a_withdrawn_model_version_ends_the_lease_that_carried_it(here: World) -> None:
    instance = leased(here)
    register(here.plane, here.admin, WORKLOAD, version=2)
    here.plane.admin.models.withdraw(here.admin, WORKLOAD, MODEL, 1, reason="a test")
    here.plane.sweeper.run()
    (state,) = lease_states(here, instance).values()
    assert state[:2] == ("ended", "model_withdrawn")
    instance.held = frozenset()
    instance.attest(here)
    assert sorted(s[0] for s in lease_states(here, instance).values()) == ["active", "ended"]


def test_a_lease_that_ended_during_the_decision_is_not_revived(here: World) -> None:
    """Housekeeping ends a lapsed lease between evaluation and commit: a new lease is granted."""
    instance = leased(here)
    (lapsed,) = instance.held
    here.clock.advance(TTL - timedelta(seconds=1))
    presented = instance.presented(here, Purpose.ATTEST)
    runs: list[int] = []

    def lapse() -> None:
        if not runs:
            here.clock.advance(timedelta(seconds=1))
            runs.append(here.plane.housekeeper.run())

    service = replace(
        here.plane.attestation, database=HookedDatabase(here.plane.database, before_write=lapse)
    )
    answer = service.attest(instance.attest_call(presented))
    assert runs == [1]
    states = lease_states(here, instance)
    assert states[lapsed.hex()][:2] == ("ended", "horizon passed")
    terms = instance.verified(answer.terms).terms
    assert [lease.state for lease in terms.leases] == [LeaseTermsState.GRANTED]
    assert sorted(s[0] for s in states.values()) == ["active", "ended"]


def test_an_attestation_under_an_older_state_of_the_node_is_evaluated_again(here: World) -> None:
    """Two attestations of one node at once: the second one sees what the first one left."""
    instance = leased(here)
    other = instance.copy()
    calls: list[int] = []

    def overtake() -> None:
        if not calls:
            calls.append(1)
            instance.attest(here)

    service = replace(
        here.plane.attestation,
        database=HookedDatabase(here.plane.database, before_write=overtake),
    )
    call = other.attest_call(other.presented(here, Purpose.ATTEST))
    answer = service.attest(call)  # its index is confirmed by now: that may be a lost answer
    sequence = other.verified(answer.terms).terms.sequence
    assert sequence == instance.sequence + 1
    assert len(lease_states(here, instance)) == 1


@pytest.mark.parametrize("move", [NodeMove.retire])
def test_a_node_that_is_none_any_more_is_told_so(here: World, move: NodeMove) -> None:
    instance = leased(here)
    here.plane.admin.nodes.move(here.admin, instance.node_id, move, reason="a test")
    assert code_of(here, instance) is Code.node_retired
    here.plane.sweeper.run()
    assert [s[0] for s in lease_states(here, instance).values()] == ["ended"]


def test_a_fence_that_never_stands_still_grants_nothing(here: World) -> None:
    instance = admitted(here)
    before = len(here.rows("SELECT 1 FROM decisions"))
    service = replace(
        here.plane.attestation,
        database=HookedDatabase(here.plane.database, before_write=lambda: _bump(here)),
    )
    with pytest.raises(Conflict) as caught:
        service.attest(instance.attest_call(instance.presented(here, Purpose.ATTEST)))
    assert caught.value.code is Code.epoch_moved
    assert len(here.rows("SELECT 1 FROM decisions")) == before
    assert lease_states(here, instance) == {}


def _bump(here: World) -> None:
    here.plane.database.write(lambda tx: tx.epochs.bump("reference"))


def test_what_others_write_of_a_node_meanwhile_stands(tmp_path: Path) -> None:
    """An attestation writes what it has found, and not the labels that it has read."""
    labelled = (("rack", "4"),)
    with world(tmp_path) as here:
        instance = leased(here)
        database = here.plane.database

        def label() -> None:
            database.write(
                lambda tx: tx.nodes.save(
                    replace(tx.nodes.get(instance.node_id), labels_assigned=labelled)
                )
            )

        hooked = HookedDatabase(database, before_write=label)
        service = replace(here.plane.attestation, database=hooked)
        service.attest(instance.attest_call(instance.presented(here, Purpose.ATTEST)))
        node = database.read(lambda tx: tx.nodes.get(instance.node_id))
        assert node.labels_assigned == labelled
        assert node.last_attested == here.clock.now()
