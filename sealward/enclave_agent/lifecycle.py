"""The agent's life as a table; nothing else may change its state.

Rules of this file: everything that decides what may follow what is in `TRANSITIONS`. An absent
entry is a refusal, never a no-op; an event that changes nothing says so by naming its own state.
Whether a model may be used is *not* read from here but from the lease book and the clock: a state
is what operators see and what the loop does next, a lease is a right. The two agree: only a state
of `MAY_HOLD_LEASES` is left with a live lease, which the runtime's tests check at every step.

docs: `diagram()` prints the table as Mermaid; a test compares it with docs/agent-lifecycle.md.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final


@unique
class AgentState(StrEnum):
    """Where the agent stands with its control plane."""

    STARTING = "starting"
    ENROLLING = "enrolling"
    PENDING = "pending"
    REJECTED = "rejected"
    ADMITTED = "admitted"  # has a certificate, holds no lease
    COMPLIANT = "compliant"  # holds leases, and its last attestation was answered with them
    DEGRADED = "degraded"  # holds leases, cannot renew them now: serves until their horizon
    REENROLLING = "reenrolling"  # the same, while it asks for a new certificate
    REFUSED = "refused"  # attested, and got nothing
    STOPPING = "stopping"
    STOPPED = "stopped"


@unique
class AgentEvent(StrEnum):
    """What can happen to the agent."""

    ENROLL = "enroll"  # asks for admission
    ADMIT = "admit"
    PEND = "pend"
    REJECT = "reject"
    RESUME = "resume"  # enrolment was not answered; goes on with the certificate it has
    GRANT = "grant"  # an attestation was answered, leases are live
    NOTHING = "nothing"  # an attestation was answered, not denied, no lease is live
    DENY = "deny"  # an attestation was denied
    LOSE = "lose"  # the control plane cannot be reached
    RECONNECT = "reconnect"  # it can again, and the last attestation was not denied
    DRAIN = "drain"  # the last live lease ended
    STOP = "stop"
    STOPPED = "stopped"


MAY_HOLD_LEASES: Final = frozenset(
    {AgentState.COMPLIANT, AgentState.DEGRADED, AgentState.REENROLLING}
)

TRANSITIONS: Final[dict[AgentState, dict[AgentEvent, AgentState]]] = {
    AgentState.STARTING: {
        AgentEvent.ENROLL: AgentState.ENROLLING,
        AgentEvent.STOP: AgentState.STOPPING,
    },
    AgentState.ENROLLING: {
        AgentEvent.ENROLL: AgentState.ENROLLING,
        AgentEvent.ADMIT: AgentState.ADMITTED,
        AgentEvent.PEND: AgentState.PENDING,
        AgentEvent.REJECT: AgentState.REJECTED,
        AgentEvent.RESUME: AgentState.ADMITTED,
        AgentEvent.LOSE: AgentState.ENROLLING,
        AgentEvent.STOP: AgentState.STOPPING,
    },
    AgentState.PENDING: {
        AgentEvent.ENROLL: AgentState.ENROLLING,
        AgentEvent.STOP: AgentState.STOPPING,
    },
    AgentState.REJECTED: {
        AgentEvent.ENROLL: AgentState.ENROLLING,
        AgentEvent.STOP: AgentState.STOPPING,
    },
    AgentState.ADMITTED: {
        AgentEvent.ENROLL: AgentState.ENROLLING,
        AgentEvent.GRANT: AgentState.COMPLIANT,
        AgentEvent.NOTHING: AgentState.ADMITTED,
        AgentEvent.DENY: AgentState.REFUSED,
        AgentEvent.LOSE: AgentState.ADMITTED,
        AgentEvent.STOP: AgentState.STOPPING,
    },
    AgentState.COMPLIANT: {
        AgentEvent.ENROLL: AgentState.REENROLLING,
        AgentEvent.GRANT: AgentState.COMPLIANT,
        AgentEvent.DENY: AgentState.DEGRADED,
        AgentEvent.LOSE: AgentState.DEGRADED,
        AgentEvent.DRAIN: AgentState.ADMITTED,
        AgentEvent.STOP: AgentState.STOPPING,
    },
    AgentState.DEGRADED: {
        AgentEvent.ENROLL: AgentState.REENROLLING,
        AgentEvent.RECONNECT: AgentState.COMPLIANT,
        AgentEvent.GRANT: AgentState.COMPLIANT,
        AgentEvent.DENY: AgentState.DEGRADED,
        AgentEvent.LOSE: AgentState.DEGRADED,
        AgentEvent.DRAIN: AgentState.ADMITTED,
        AgentEvent.STOP: AgentState.STOPPING,
    },
    AgentState.REENROLLING: {
        AgentEvent.ENROLL: AgentState.REENROLLING,
        AgentEvent.ADMIT: AgentState.DEGRADED,
        AgentEvent.PEND: AgentState.DEGRADED,
        AgentEvent.REJECT: AgentState.DEGRADED,
        AgentEvent.RESUME: AgentState.DEGRADED,
        AgentEvent.LOSE: AgentState.REENROLLING,
        AgentEvent.DRAIN: AgentState.ENROLLING,
        AgentEvent.STOP: AgentState.STOPPING,
    },
    AgentState.REFUSED: {
        AgentEvent.ENROLL: AgentState.ENROLLING,
        AgentEvent.GRANT: AgentState.COMPLIANT,
        AgentEvent.NOTHING: AgentState.ADMITTED,
        AgentEvent.DENY: AgentState.REFUSED,
        AgentEvent.LOSE: AgentState.REFUSED,
        AgentEvent.STOP: AgentState.STOPPING,
    },
    AgentState.STOPPING: {  # the stream stays open to deliver statements, and may still report
        AgentEvent.NOTHING: AgentState.STOPPING,
        AgentEvent.DENY: AgentState.STOPPING,
        AgentEvent.LOSE: AgentState.STOPPING,
        AgentEvent.STOPPED: AgentState.STOPPED,
    },
    AgentState.STOPPED: {},
}


class IllegalTransition(RuntimeError):
    """The runtime fed an event that cannot happen in this state: our bug, not the peer's."""

    def __init__(self, state: AgentState, event: AgentEvent) -> None:
        self.state: Final = state
        self.event: Final = event
        super().__init__(f"{event} cannot happen to an agent that is {state}")


def advance(state: AgentState, event: AgentEvent) -> AgentState:
    """Return the state after `event`.

    Raises:
        IllegalTransition: the table has no such entry.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def diagram() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {AgentState.STARTING}"]
    for state, row in TRANSITIONS.items():
        lines += [f"    {state} --> {after}: {event}" for event, after in row.items()]
    lines.append(f"    {AgentState.STOPPED} --> [*]")
    return "\n".join(lines) + "\n"
