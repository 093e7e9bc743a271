"""The policy engines of one process: the one that decides, and what checks uploads."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.adapters.policy_engine.opa import probe
from sealward.controlplane.adapters.policy_engine.opa.client import OpaClient
from sealward.controlplane.adapters.policy_engine.opa.endpoint import Endpoint
from sealward.controlplane.adapters.policy_engine.opa.engine import OpaEngine, OpaSettings
from sealward.controlplane.adapters.policy_engine.shipped import allowed_builtins
from sealward.controlplane.adapters.policy_upload import UploadCheck
from sealward.controlplane.domain.policy_engine import PolicyEngine

_UPLOADS_ON_OPA = 4  # an upload is asked a few times and never again


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEngines:
    """What evaluates policies. `close` it to end workers and connections.

    Attributes:
        deciding: answers for decisions.
        check: judges uploads, in workers and mounts that no decision uses.
        ends: closes what was opened.
    """

    deciding: PolicyEngine
    check: UploadCheck
    ends: tuple[Callable[[], None], ...]

    def close(self) -> None:
        """End every worker and connection."""
        for end in self.ends:
            end()


def open_engines(
    endpoint: Endpoint | None, *, deadline_seconds: float, places: int
) -> PolicyEngines:
    """Return the engines: embedded, or over the OPA server that is given and found usable.

    Args:
        endpoint: the OPA server, None for the embedded engine.
        deadline_seconds: longest evaluation of one policy.
        places: evaluations of one policy at once.

    Raises:
        InvalidEndpoint: a TLS file cannot be used.
        Unavailable: the OPA server is not there, or too lax.
    """
    checking = EngineSettings(deadline_seconds=deadline_seconds)
    uploads = EmbeddedEngine(checking, time.monotonic)
    if endpoint is None:
        # A worker for each thread that decides: nobody waits for a place, since a wait that
        # outlasts the deadline would be a denial.
        embedded = EmbeddedEngine(
            EngineSettings(deadline_seconds=deadline_seconds, pool_size=places), time.monotonic
        )
        return PolicyEngines(
            deciding=embedded,
            check=UploadCheck(uploads, checking),
            ends=(embedded.close, uploads.close),
        )
    _require_usable(endpoint)
    deciding = _opa(endpoint, OpaSettings(deadline_seconds=deadline_seconds))
    second = _opa(
        endpoint, OpaSettings(deadline_seconds=deadline_seconds, max_policies=_UPLOADS_ON_OPA)
    )
    return PolicyEngines(
        deciding=deciding,
        check=UploadCheck(uploads, checking, second),
        ends=(deciding.close, second.close, uploads.close),
    )


def _require_usable(endpoint: Endpoint) -> None:
    engine = _opa(endpoint, probe.roomy(OpaSettings()))
    try:
        probe.require_usable(endpoint, engine)
    finally:
        engine.close()


def _opa(endpoint: Endpoint, settings: OpaSettings) -> OpaEngine:
    return OpaEngine(
        OpaClient(endpoint),
        settings,
        builtins=allowed_builtins(),
        monotonic=time.monotonic,
        random_bytes=secrets.token_bytes,
    )
