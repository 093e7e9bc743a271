"""One look at the whole: what runs, what is missing, what is under way."""

from __future__ import annotations

from dataclasses import dataclass

from sealward.controlplane.domain.activations import ActivationMode, PolicyActivation
from sealward.controlplane.domain.audit import StoredCheckpoint
from sealward.controlplane.domain.nodes import NodeState
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.policy_composition import GUARDRAIL
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.sweeps import Sweep
from sealward.controlplane.domain.system import SystemMarker
from sealward.controlplane.services.administration import Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.result import Posture


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """Counts and pointers of one snapshot.

    `missing_policies` are kinds for which the organisation enforces no policy: until it does, the
    step is refused, whatever narrower layers say.
    """

    system: SystemMarker | None
    nodes: tuple[tuple[NodeState, int], ...]
    postures: tuple[tuple[Posture, int], ...]  # of admitted nodes
    activations: tuple[PolicyActivation, ...]
    missing_policies: tuple[PolicyKind, ...]
    sweeps: tuple[Sweep, ...]
    checkpoint: StoredCheckpoint | None


@dataclass(frozen=True, slots=True)
class Status:
    """Use cases around the state of the installation."""

    on: Dependencies

    def report(self, principal: Principal) -> StatusReport:
        """Return the state of the installation in one snapshot."""
        require(principal, Right.status_read)
        return self.on.database.read(_report)

    def ready(self) -> None:
        """Return when the database answers.

        Raises:
            Unavailable: database_unavailable.
        """
        self.on.database.read(lambda tx: tx.system.find())


def _report(tx: Transaction) -> StatusReport:
    active = tx.policies.active()
    answered = {
        a.kind for a in active if a.mode is ActivationMode.enforce and a.layer == GUARDRAIL.value
    }
    return StatusReport(
        system=tx.system.find(),
        nodes=tuple((state, tx.nodes.count(state=state)) for state in NodeState),
        postures=tuple(
            (posture, tx.nodes.count(state=NodeState.admitted, posture=posture))
            for posture in Posture
        ),
        activations=active,
        missing_policies=tuple(kind for kind in PolicyKind if kind not in answered),
        sweeps=tx.sweeps.running(),
        checkpoint=tx.audit.latest_checkpoint(),
    )
