"""Decisions about nodes: each cell of the table, what it fences, and what explains it."""

from __future__ import annotations

import pytest
from fakes.admin_plane import NODE_ID, AdminPlane

from sealward.controlplane.domain.errors import Conflict, NotFound, Refused
from sealward.controlplane.domain.nodes import FailureClass, NodeState
from sealward.controlplane.services.nodes import TRANSITIONS, NodeMove
from sealward.verifier.rats.result import Posture

SCOPE = f"node/{NODE_ID}"


def epoch(plane: AdminPlane) -> int:
    return plane.database.read(lambda tx: tx.epochs.read([SCOPE])[SCOPE])


@pytest.mark.parametrize("state", NodeState)
@pytest.mark.parametrize("move", NodeMove)
def test_every_cell_is_a_move_or_a_refusal(
    plane: AdminPlane, state: NodeState, move: NodeMove
) -> None:
    alice = plane.administrator().principal
    plane.add_node(state=state)
    before = plane.row_counts()
    to = TRANSITIONS[state].get(move)
    if to is None:
        with pytest.raises(Conflict):
            plane.services.nodes.move(alice, NODE_ID, move, reason="")
        assert plane.row_counts() == before
        return
    moved = plane.services.nodes.move(alice, NODE_ID, move, reason="")
    assert moved.state is to
    assert plane.services.nodes.get(alice, NODE_ID) == moved
    assert epoch(plane) == (0 if move is NodeMove.admit else 1)


def test_quarantine_fences_and_only_fresh_evidence_follows_a_release(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    plane.add_node(failure_class=FailureClass.integrity)
    nodes = plane.services.nodes
    held = nodes.quarantine(alice, NODE_ID, reason="suspicious")
    assert (held.posture, held.quarantined) == (Posture.QUARANTINED, plane.clock.now())
    assert (epoch(plane), plane.wake.calls) == (1, 1)
    with pytest.raises(Conflict):
        nodes.quarantine(alice, NODE_ID, reason="again")
    free = nodes.release(alice, NODE_ID, reason="checked")
    assert (free.posture, free.quarantined, free.failure_class) == (Posture.STALE, None, None)
    assert (epoch(plane), plane.wake.calls) == (2, 2)
    with pytest.raises(Conflict):
        nodes.release(alice, NODE_ID, reason="again")


def test_a_clone_is_retired_and_never_released(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    plane.add_node(failure_class=FailureClass.clone)
    nodes = plane.services.nodes
    nodes.quarantine(alice, NODE_ID, reason="two holders")
    with pytest.raises(Refused):
        nodes.release(alice, NODE_ID, reason="checked")
    retired = nodes.move(alice, NODE_ID, NodeMove.retire, reason="fresh keys")
    assert retired.state is NodeState.retired


@pytest.mark.parametrize("reason", ["", "a" * 501, "line\nbreak", "\x1b[31m", "\u202e"])
def test_a_reason_is_one_printable_line(plane: AdminPlane, reason: str) -> None:
    alice = plane.administrator().principal
    plane.add_node()
    before = plane.row_counts()
    with pytest.raises(Refused):
        plane.services.nodes.quarantine(alice, NODE_ID, reason=reason)
    assert plane.row_counts() == before


def test_a_refused_enrollment_explains_itself_though_there_is_no_node(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    with pytest.raises(NotFound):
        plane.services.explanations.of_node(alice, NODE_ID)
    decision = plane.add_decision()
    explained = plane.services.explanations.of_node(alice, NODE_ID)
    assert explained.node is None
    assert explained.decisions == (decision,)


def test_decisions_are_explained_newest_first(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    plane.add_node()
    for number in range(12):
        plane.add_decision(decision_id=f"{number:032x}")
    explained = plane.services.explanations.of_node(alice, NODE_ID)
    ids = [int(decision.decision_id, 16) for decision in explained.decisions]
    assert ids == list(range(11, 1, -1))


def test_each_decision_is_in_the_log_with_who_made_it(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    plane.add_node()
    plane.services.nodes.quarantine(alice, NODE_ID, reason="suspicious")
    entries = plane.database.read(lambda tx: tx.audit.page(limit=100)).items
    entry = next(e for e in entries if e.kind == "node.quarantined")
    assert '"name":"alice"' in entry.body
    assert '"reason":"suspicious"' in entry.body
