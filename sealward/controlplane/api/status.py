"""The state of the installation over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from fastapi import APIRouter

from sealward.controlplane.api.policies import ActivationView
from sealward.controlplane.api.route import Caller, GuardedRoute, Services, View
from sealward.controlplane.domain.sweeps import Sweep
from sealward.controlplane.services.status import StatusReport

router = APIRouter(route_class=GuardedRoute, tags=["status"])


class SweepView(View):
    """A sweep under way."""

    sweep_id: str
    scope: str
    epoch: int
    started: datetime
    affected: int

    @classmethod
    def of(cls, sweep: Sweep) -> Self:
        """Show one."""
        return cls(
            sweep_id=sweep.sweep_id,
            scope=sweep.scope,
            epoch=sweep.epoch,
            started=sweep.started,
            affected=sweep.affected,
        )


class StatusView(View):
    """Counts and pointers of one snapshot."""

    kind: str | None
    trust_domain: str | None
    generation: int | None
    nodes: dict[str, int]
    postures: dict[str, int]
    activations: list[ActivationView]
    missing_policies: list[str]
    sweeps: list[SweepView]
    log_size: int

    @classmethod
    def of(cls, report: StatusReport) -> Self:
        """Show one."""
        system = report.system
        return cls(
            kind=None if system is None else str(system.kind),
            trust_domain=None if system is None else system.trust_domain,
            generation=None if system is None else system.generation,
            nodes={str(state): count for state, count in report.nodes},
            postures={str(posture): count for posture, count in report.postures},
            activations=[ActivationView.of(item) for item in report.activations],
            missing_policies=[str(kind) for kind in report.missing_policies],
            sweeps=[SweepView.of(item) for item in report.sweeps],
            log_size=0 if report.checkpoint is None else report.checkpoint.size,
        )


@router.get("/status")
def status(caller: Caller, services: Services) -> StatusView:
    """Return the state of the installation."""
    return StatusView.of(services.status.report(caller))
