"""What is refused before a decision is kept, within a budget, and found by its correlation id."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.control_plane import World, chip
from fakes.hooked_database import HookedDatabase
from fakes.instances import Instance, admitted, leased
from fakes.state import ManualClock, hex_id, open_database

from sealward.controlplane.domain.attempts import (
    KEPT_FOR,
    KEPT_OF_A_NODE,
    KEPT_OF_STRANGERS,
    STRANGERS_A_MINUTE,
    Attempt,
    AttemptCall,
)
from sealward.controlplane.domain.errors import Code, Conflict, Refused, Unavailable
from sealward.controlplane.domain.records import JsonText, new_id
from sealward.controlplane.services.attempts import Attempts
from sealward.controlplane.services.evidence import Presented
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.binding import Purpose

NODE = b"a key"
NOBODYS = "of nobody"  # a join token


def an_attempt(number: int, node_id: str = hex_id("node"), *, enrolled: bool = True) -> Attempt:
    clock = ManualClock()
    clock.advance(timedelta(seconds=number))
    return Attempt(
        attempt_id=new_id(clock.now(), secrets.token_bytes),
        correlation_id=f"{number:016x}",
        node_id=node_id,
        enrolled=enrolled,
        call=AttemptCall.attest,
        code="evidence_refused",
        reason=JsonText('{"code":"signature_invalid"}'),
        at=clock.now(),
    )


def attempts_of(here: World, instance: Instance) -> tuple[Attempt, ...]:
    return here.plane.database.read(lambda tx: tx.attempts.latest(instance.node_id, limit=100))


def refused(here: World, instance: Instance, presented: Presented, quote: str) -> Code:
    call = replace(instance.attest_call(presented), correlation_id=quote)
    with pytest.raises(Refused) as caught:
        here.plane.attestation.attest(call)
    return caught.value.code


def test_a_broken_signature_is_recorded_in_the_verifiers_own_words(here: World) -> None:
    instance = admitted(here)
    shown = instance.presented(here, Purpose.ATTEST)
    broken = bytearray(shown.evidence)
    broken[0x90 + 40] ^= 1  # inside the signed measurement
    assert refused(here, instance, replace(shown, evidence=bytes(broken)), "quote1") is (
        Code.evidence_refused
    )
    (attempt,) = attempts_of(here, instance)
    assert (attempt.correlation_id, attempt.enrolled) == ("quote1", True)
    explained = here.plane.admin.explanations.of_correlation(here.admin, "quote1")
    cause = explained.cause.finding
    assert (cause.code, cause.source, cause.rule) == ("signature_invalid", "refusal", "verifier")
    assert explained.cause.mend


def test_an_expired_challenge_of_a_node_is_recorded(here: World) -> None:
    instance = leased(here)
    shown = instance.presented(here, Purpose.ATTEST)
    here.clock.advance(timedelta(seconds=31))
    late = replace(shown, received=here.clock.now())
    assert refused(here, instance, late, "quote2") is Code.challenge_expired
    explained = here.plane.admin.explanations.of_correlation(here.admin, "quote2")
    assert explained.cause.finding.claim == "challenge"
    assert explained.cause.passed.at is not None


def test_beyond_the_budget_a_ticket_that_is_not_ours_costs_no_write(here: World) -> None:
    instance = admitted(here)
    forged = replace(instance.presented(here, Purpose.ATTEST), ticket=bytes(100))
    writes = 0

    def count() -> None:
        nonlocal writes
        writes += 1

    service = here.plane.attestation
    hooked = replace(service, database=HookedDatabase(service.database, before_write=count))
    plane = replace(here, plane=replace(here.plane, attestation=hooked))
    for _ in range(KEPT_OF_A_NODE + 20):
        assert refused(plane, instance, forged, "quote") is Code.challenge_invalid
    assert writes == KEPT_OF_A_NODE


def test_who_has_not_proven_his_key_leaves_no_trace_under_it(here: World) -> None:
    """Or a stranger could push out what is recorded of a node whose public key he knows."""
    instance = Instance(here.plane.trust)
    call = instance.enroll_call(instance.presented(here, Purpose.ENROLL))
    with pytest.raises(Refused):
        here.plane.enrollment.enroll(replace(call, proof=bytes(70)))
    assert attempts_of(here, instance) == ()


def test_a_stranger_that_has_is_recorded_as_one(here: World) -> None:
    instance = Instance(here.plane.trust, platform=chip("basement"))
    with pytest.raises(Refused):
        instance.enroll(here, join_token=NOBODYS)
    (attempt,) = attempts_of(here, instance)
    assert (attempt.enrolled, attempt.code) == (False, "join_token_invalid")
    found = here.plane.admin.explanations.of_node(here.admin, instance.node_id)
    assert found.node is None
    assert found.why.cause.finding.code == "join_token_invalid"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a fault of ours"),
        Conflict(Code.epoch_moved, "again"),
        Refused(Code.challenge_spent, "a replay"),
        Unavailable(Code.database_unavailable, "no disk"),
    ],
)
def test_what_says_nothing_about_the_node_is_not_recorded(here: World, error: Exception) -> None:
    recorder = Attempts.of(here.clock, secrets.token_bytes)
    note = recorder.note(error, AttemptCall.attest, NODE, "quote")
    here.plane.database.write(note)
    assert here.rows("SELECT count(*) FROM attempts") == [(0,)]


def test_strangers_have_one_budget_a_minute_together(here: World) -> None:
    """What is above it is only counted: a flood writes no more than this (F25, F30)."""
    recorder = Attempts.of(here.clock, secrets.token_bytes)
    error = Refused(Code.evidence_refused, "no")
    for number in range(STRANGERS_A_MINUTE + 20):
        key = number.to_bytes(4, "big")
        here.plane.database.write(recorder.note(error, AttemptCall.enroll, key, "quote"))
    assert here.rows("SELECT count(*) FROM attempts") == [(STRANGERS_A_MINUTE,)]
    here.clock.advance(timedelta(minutes=1))
    here.plane.database.write(recorder.note(error, AttemptCall.enroll, NODE, "quote"))
    assert here.rows("SELECT count(*) FROM attempts") == [(STRANGERS_A_MINUTE + 1,)]


def test_of_a_node_the_newest_are_kept(tmp_path: Path) -> None:
    database = open_database(tmp_path)
    other = an_attempt(0, hex_id("other"))
    database.write(lambda tx: tx.attempts.add(other))
    for number in range(1, KEPT_OF_A_NODE + 6):
        one = an_attempt(number)
        database.write(lambda tx, one=one: tx.attempts.add(one))
    kept = database.read(lambda tx: tx.attempts.latest(hex_id("node"), limit=100))
    assert [int(one.correlation_id, 16) for one in kept] == list(range(KEPT_OF_A_NODE + 5, 5, -1))
    assert database.read(lambda tx: tx.attempts.latest(other.node_id, limit=9)) == (other,)
    database.close()


def test_of_strangers_the_newest_are_kept_and_no_node_pays_for_them(tmp_path: Path) -> None:
    database = open_database(tmp_path)
    node = an_attempt(0)

    def flood(tx: Transaction) -> None:
        tx.attempts.add(node)
        for number in range(1, KEPT_OF_STRANGERS + 11):
            tx.attempts.add(an_attempt(number, hex_id(f"stranger {number}"), enrolled=False))

    database.write(flood)
    assert database.read(lambda tx: tx.attempts.correlated(f"{10:016x}")) is None
    assert database.read(lambda tx: tx.attempts.correlated(f"{11:016x}")) is not None
    assert database.read(lambda tx: tx.attempts.correlated(node.correlation_id)) == node
    database.close()


def test_none_is_kept_for_ever(here: World) -> None:
    instance = Instance(here.plane.trust)
    with pytest.raises(Refused):
        instance.enroll(here, join_token=NOBODYS)
    here.clock.advance(KEPT_FOR - timedelta(seconds=1))
    here.plane.housekeeper.run()
    assert len(attempts_of(here, instance)) == 1
    here.clock.advance(timedelta(seconds=2))
    here.plane.housekeeper.run()
    assert attempts_of(here, instance) == ()
