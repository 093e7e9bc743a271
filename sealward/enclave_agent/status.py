"""What an operator of this machine may see of the agent: no secrets, and not from elsewhere.

On the inference listener, answered to connections from this machine only:

    GET /v1/status              what the agent does
    GET /v1/attestation-result  the newest attestation result, for software of this node to show
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sealward
from sealward.enclave_agent.clock import NS_PER_MS, clock_source
from sealward.enclave_agent.hardening import Applied
from sealward.enclave_agent.inference import http
from sealward.enclave_agent.inference.catalog import Catalog
from sealward.enclave_agent.inference.oip import InferenceApp
from sealward.enclave_agent.session import SessionParts

if TYPE_CHECKING:
    from sealward.verifier.wire.json import Canonical

PATH: Final = "/v1/status"
RESULT_PATH: Final = "/v1/attestation-result"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSource:
    """Where the status comes from; asked anew for every answer."""

    parts: SessionParts
    catalog: Catalog
    hardening: tuple[Applied, ...]

    def snapshot(self) -> dict[str, Canonical]:
        """Return the status as JSON."""
        parts = self.parts
        standing, maker = parts.standing, parts.maker
        certificate, denial = standing.certificate, standing.last_denial
        absence = standing.last_absence
        return {
            "agent_version": sealward.__version__,
            "node": maker.keys.node.hex(),
            "trust_domain": maker.trust.trust_domain,
            "tenant": maker.trust.tenant,
            "development": maker.trust.development,
            "attester": maker.attester.kind,
            "clock_source": clock_source(),
            "state": standing.state.value,
            "connected": standing.connected,
            "certificate_ends_in_ms": (
                None
                if certificate is None
                else max(0, (certificate.ends_ns - parts.clock()) // NS_PER_MS)
            ),
            "last_denial": (
                None
                if denial is None
                else {"code": denial.code, "correlation_id": denial.correlation_id}
            ),
            "last_absence": (
                None
                if absence is None
                else {
                    "lasted_ms": absence.lasted_ns // NS_PER_MS,
                    "ended_ms_ago": (parts.clock() - absence.ended_ns) // NS_PER_MS,
                }
            ),
            "highest_sequence": parts.book.highest_sequence,
            "workloads": list(parts.workloads),
            "leases": self._leases(),
            "models": [
                {
                    "name": entry.name,
                    "version": entry.version,
                    "state": entry.state.value,
                    "reason": entry.reason,
                }
                for entry in self.catalog.index()
            ],
            "statements_waiting": len(parts.desk.waiting()),
            "hardening": {applied.measure.value: applied.why_not for applied in self.hardening},
        }

    def _leases(self) -> list[Canonical]:
        now_ns = self.parts.clock()
        return [
            {
                "lease": lease.lease_id.hex(),
                "workload": lease.workload,
                "remaining_ms": (lease.horizon_ns - now_ns) // NS_PER_MS,
                "limited_by": lease.cause,
                "models": [f"{model.name}/{model.version}" for model in lease.models],
            }
            for lease in self.parts.book.live(now_ns)
        ]


class AgentApp:
    """The inference application, with the status beside it."""

    def __init__(self, inference: InferenceApp, status: StatusSource) -> None:
        self._inference: Final = inference
        self._status: Final = status

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Answer one request."""
        ours = scope["type"] == "http" and scope["path"] in (PATH, RESULT_PATH)
        if not ours or not _from_here(scope):
            await self._inference(scope, receive, send)
            return
        await self._answer(scope["method"], scope["path"]).send(send)

    def _answer(self, method: str, path: str) -> http.Response:
        if method != "GET":
            return http.error_response(405, "method_not_allowed", "use GET")
        if path == PATH:
            return http.json_response(200, self._status.snapshot())
        token = self._status.parts.standing.attestation_result
        if not token:
            return http.error_response(
                404, "no_attestation_result", "none was asked for, or the last one would not hold"
            )
        return http.json_response(200, {"token": token})


def _from_here(scope: http.Scope) -> bool:
    """Say whether the connection comes from this machine: loopback, or our own address."""
    client, server = scope.get("client"), scope.get("server")
    if not client or not server:
        return False
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    return address.is_loopback or client[0] == server[0]
