"""The agent's table of states."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.lifecycle import (
    MAY_HOLD_LEASES,
    TRANSITIONS,
    AgentEvent,
    AgentState,
    IllegalTransition,
    advance,
    diagram,
)

DOC = Path(__file__).resolve().parents[3] / "docs" / "agent-lifecycle.md"


@pytest.mark.parametrize("state", AgentState)
@pytest.mark.parametrize("event", AgentEvent)
def test_every_cell_is_a_move_or_a_refusal(state: AgentState, event: AgentEvent) -> None:
    """An absent entry raises; it is never a no-op."""
    if event in TRANSITIONS[state]:
        assert advance(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(IllegalTransition) as raised:
            advance(state, event)
        assert (raised.value.state, raised.value.event) == (state, event)


@pytest.mark.parametrize(
    "state", sorted(set(AgentState) - {AgentState.STOPPED, AgentState.STOPPING})
)
def test_every_state_can_be_stopped(state: AgentState) -> None:
    assert advance(state, AgentEvent.STOP) is AgentState.STOPPING


def test_stopping_leads_nowhere_but_to_stopped() -> None:
    assert set(TRANSITIONS[AgentState.STOPPING].values()) == {
        AgentState.STOPPING,
        AgentState.STOPPED,
    }
    assert TRANSITIONS[AgentState.STOPPED] == {}


def test_every_state_is_reachable() -> None:
    reached, todo = {AgentState.STARTING}, [AgentState.STARTING]
    while todo:
        for after in TRANSITIONS[todo.pop()].values():
            if after not in reached:
                reached.add(after)
                todo.append(after)
    assert reached == set(AgentState)


@given(st.lists(st.sampled_from(AgentEvent)))
def test_leases_are_entered_by_a_grant_and_left_by_the_last_end(events: list[AgentEvent]) -> None:
    """No other event leads into or out of the states that may hold leases, but a stop."""
    state = AgentState.STARTING
    for event in events:
        try:
            after = advance(state, event)
        except IllegalTransition:
            continue
        if state not in MAY_HOLD_LEASES and after in MAY_HOLD_LEASES:
            assert event is AgentEvent.GRANT
        if state in MAY_HOLD_LEASES and after not in MAY_HOLD_LEASES:
            assert event in {AgentEvent.DRAIN, AgentEvent.STOP}
        state = after


def test_the_documented_diagram_is_the_table() -> None:
    assert f"```mermaid\n{diagram()}```" in DOC.read_text(encoding="utf-8")
