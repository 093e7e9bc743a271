"""The lease ratchet: what is lost on the way costs nothing, and two holders betray each other."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fakes.control_plane import World
from fakes.instances import Instance, lease_states, leased
from fakes.state import a_node
from hypothesis import example, given
from hypothesis import strategies as st

from sealward.controlplane.adapters.keystore import file as keystores
from sealward.controlplane.adapters.keystore.file import FileKeystore
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.services import ratchet
from sealward.verifier.rats.binding import (
    AgentStatement,
    Audience,
    Binding,
    Purpose,
    ratchet_mac,
)
from sealward.verifier.rats.result import Posture


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> FileKeystore:
    folder: Path = tmp_path_factory.mktemp("keystore") / "keys"
    keystores.create(folder, secrets.token_bytes)
    return FileKeystore(folder, secrets.token_bytes)


@dataclass
class Game:
    """One node's counters, and what its holders know."""

    keystore: FileKeystore
    confirmed: int = 0
    issued: int = 0

    def renew(self, held: tuple[int, bytes] | None) -> tuple[int, bytes]:
        """Renew with what a holder has; return what the answer would give it."""
        node = replace(a_node(), ratchet_confirmed=self.confirmed, ratchet_issued=self.issued)
        nonce = secrets.token_bytes(32)
        shown = None if held is None else (held[0], ratchet_mac(held[1], nonce, b"key"))
        step = ratchet.step(self.keystore, node, _binding(nonce, shown))
        self.confirmed, self.issued = step.confirmed, step.issued
        return step.issued, ratchet.secret(self.keystore, node.node_id, step.issued)


def _binding(nonce: bytes, shown: tuple[int, bytes] | None) -> Binding:
    return Binding(
        purpose=Purpose.ATTEST,
        nonce=nonce,
        audience=Audience(trust_domain="a.invalid", pin=bytes(32)),
        tenant="default",
        tls_spki=b"key",
        hpke_suite=0x20,
        hpke_public=bytes(32),
        signing_public=bytes(32),
        statement=AgentStatement(agent_version="1", clock_source="tsc"),
        ratchet=shown,
    )


@given(arrived=st.lists(st.booleans(), max_size=30))
@example(arrived=[False])
@example(arrived=[True, False, False, True])
def test_one_holder_is_never_taken_for_two_whatever_is_lost(
    keystore: FileKeystore, arrived: list[bool]
) -> None:
    game, held = Game(keystore), None
    for one in arrived:
        answer = game.renew(held)
        held = answer if one else held


@given(turns=st.lists(st.sampled_from("AB"), max_size=12), lost=st.lists(st.booleans(), max_size=4))
def test_two_holders_of_one_state_are_found_out_when_the_first_comes_back(
    keystore: FileKeystore, turns: list[str], lost: list[bool]
) -> None:
    game = Game(keystore)
    common = None
    for one in lost:  # some history of one holder; then it is copied
        answer = game.renew(common)
        common = common if one else answer
    held = {"A": common, "B": common}
    expected = _back_again(turns)
    for number, name in enumerate(turns):
        try:
            held[name] = game.renew(held[name])
        except Refused:
            both = len(set(turns[: number + 1])) == 2
            assert both, "a single holder was taken for two"
            return
        assert expected is None or number < expected, "two holders went unnoticed"


def _back_again(turns: list[str]) -> int | None:
    """Return where a holder renews after another one renewed after it."""
    for number, name in enumerate(turns):
        if name in turns[:number] and turns[number - 1] != name:
            return number
    return None


@pytest.mark.parametrize("index", [0, 1, 3, 7, 2**64 - 1])
def test_an_index_that_was_never_given_is_refused(keystore: FileKeystore, index: int) -> None:
    game = Game(keystore, confirmed=4, issued=5)
    node_id = a_node().node_id
    with pytest.raises(Refused) as caught:
        game.renew((index, ratchet.secret(keystore, node_id, index)))
    assert caught.value.code is Code.clone_detected


def test_the_right_index_without_its_secret_is_refused(keystore: FileKeystore) -> None:
    game = Game(keystore, confirmed=4, issued=5)
    with pytest.raises(Refused):
        game.renew((5, bytes(32)))
    with pytest.raises(Refused):
        game.renew(None)
    assert (game.confirmed, game.issued) == (4, 5)


def test_the_secret_of_index_zero_is_never_accepted(keystore: FileKeystore) -> None:
    node_id = a_node().node_id
    with pytest.raises(Refused):
        Game(keystore).renew((0, ratchet.secret(keystore, node_id, 0)))


def test_secrets_differ_by_node_and_index(keystore: FileKeystore) -> None:
    ids = (a_node("a").node_id, a_node("b").node_id)
    made = {ratchet.secret(keystore, node, index) for node in ids for index in range(8)}
    assert len(made) == 16


def cloned(here: World) -> tuple[Instance, Instance]:
    """A node that renewed, its copy that renewed too, and the refusal that followed."""
    original = leased(here)
    copy = original.copy()
    original.attest(here)
    copy.attest(here)  # the first divergent renewal looks like a lost answer
    with pytest.raises(Refused) as caught:
        original.attest(here)
    assert caught.value.code is Code.clone_detected
    return original, copy


def node_of(here: World, instance: Instance):
    return here.plane.database.read(lambda tx: tx.nodes.get(instance.node_id))


def test_a_cloned_agent_is_quarantined_and_its_exposure_is_open(here: World) -> None:
    original, copy = cloned(here)
    here.plane.sweeper.run()
    (state,) = lease_states(here, original).values()
    assert state == ("ended", "clone_detected", "open")
    assert here.rung == [original.node_id]
    for holder in (original, copy):
        with pytest.raises(Refused) as caught:
            holder.attest(here)
        assert caught.value.code is Code.node_quarantined


def test_quarantine_sticks_over_an_enrolment_and_a_sweep_after_it(here: World) -> None:
    """Enrolling again before the sweep came must not save the lease either."""
    original, copy = cloned(here)
    before = node_of(here, original)
    for holder in (original, copy):
        answer = holder.enroll(here)
        assert (answer.certificate, answer.code) == (None, "node_quarantined")
    assert node_of(here, original) == before
    assert before.posture is Posture.QUARANTINED
    here.plane.sweeper.run()
    (state,) = lease_states(here, original).values()
    assert state == ("ended", "clone_detected", "open")
    assert node_of(here, original).quarantined is not None


def test_a_cloned_instance_never_comes_back(here: World) -> None:
    """Nothing can tell its holders apart, so the genuine one enrols again with fresh keys."""
    original, copy = cloned(here)
    with pytest.raises(Refused):
        here.plane.admin.nodes.release(here.admin, original.node_id, reason="the copy is gone")
    for holder in (original, copy):
        with pytest.raises(Refused):
            holder.attest(here)
    assert leased(here).held


def test_an_operator_ends_a_quarantine_of_his_own_and_fresh_evidence_does_the_rest(
    here: World,
) -> None:
    instance = leased(here)
    here.plane.admin.nodes.quarantine(here.admin, instance.node_id, reason="a suspicion")
    here.plane.sweeper.run()
    here.plane.admin.nodes.release(here.admin, instance.node_id, reason="it was nothing")
    here.plane.sweeper.run()
    assert node_of(here, instance).posture is Posture.STALE
    assert [s[0] for s in lease_states(here, instance).values()] == ["ended"]
    instance.held = frozenset()
    assert instance.attest(here).posture is Posture.COMPLIANT
