"""Where the agent stands: its state, and what operators want to know beside it. One writer."""

from __future__ import annotations

from dataclasses import dataclass

from sealward.enclave_agent.certificate import NodeCertificate
from sealward.enclave_agent.lifecycle import (
    MAY_HOLD_LEASES,
    AgentEvent,
    AgentState,
    advance,
)
from sealward.enclave_agent.messages import Denial
from sealward.telemetry import get_logger

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A time in which the agent did not run: its machine slept, or it was stopped or starved.

    Attributes:
        lasted_ns: how long, on the boot-time clock.
        ended_ns: boot-time instant at which it noticed.
    """

    lasted_ns: int
    ended_ns: int


class Standing:
    """The state of one agent.

    Attributes:
        connected: whether the stream to the control plane is open.
        certificate: the node certificate, or None before the first admission.
        last_denial: the last answer that was no, until one is yes.
        last_absence: see `Absence`; None when there was none.
        attestation_result: the newest that the control plane gave, a JWT; empty when there is none.
    """

    def __init__(self) -> None:
        self._state = AgentState.STARTING
        self.connected = False
        self.certificate: NodeCertificate | None = None
        self.last_denial: Denial | None = None
        self.last_absence: Absence | None = None
        self.attestation_result = ""

    @property
    def state(self) -> AgentState:
        """The present state."""
        return self._state

    def feed(self, event: AgentEvent) -> None:
        """Advance by the table.

        Raises:
            IllegalTransition: our bug.
        """
        before, self._state = self._state, advance(self._state, event)
        if before is not self._state:
            _log.info("state", state=self._state, before=before, because=event)

    def drained(self, *, live: bool) -> None:
        """Take note that no lease is live any more, if the state still says that one may be."""
        if not live and self._state in MAY_HOLD_LEASES:
            self.feed(AgentEvent.DRAIN)

    def lost(self) -> None:
        """Take note that the control plane cannot be reached."""
        self.connected = False
        self.feed(AgentEvent.LOSE)

    def reached(self) -> None:
        """Take note that the stream is open."""
        self.connected = True
        if self._state is AgentState.DEGRADED and self.last_denial is None:
            self.feed(AgentEvent.RECONNECT)

    def answered(self, *, live: bool, denial: Denial | None) -> None:
        """Take note of what an attestation was answered with."""
        self.drained(live=live)
        self.last_denial = denial
        if live:
            self.feed(AgentEvent.GRANT)
        if denial is not None:
            self.feed(AgentEvent.DENY)
        elif not live:
            self.feed(AgentEvent.NOTHING)

    def denied(self, denial: Denial, *, live: bool) -> None:
        """Take note that a call was refused outright."""
        self.drained(live=live)
        self.last_denial = denial
        self.feed(AgentEvent.DENY)
