"""Is this OPA server one that policies may be put on? Asked once, before anything is served.

A server that is lax fails here, with what to change, and not in the middle of a decision: it would
let strangers put policies, or let errors of built-ins pass for "undefined".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sealward.controlplane.adapters.policy_engine.opa.client import OpaClient
from sealward.controlplane.adapters.policy_engine.opa.endpoint import Endpoint
from sealward.controlplane.adapters.policy_engine.opa.engine import OpaEngine, OpaSettings
from sealward.controlplane.adapters.policy_engine.opa.mount import ROOT
from sealward.controlplane.domain.errors import Code, Unavailable
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import bundle_from_files
from sealward.controlplane.domain.policy_engine import (
    EngineFault,
    LayerPolicy,
    PolicyEngineError,
)

_OK: Final = 200
_SECONDS: Final = 5.0  # no decision waits for this one
_MAX_BYTES: Final = 64 * 1024
_POLICY: Final = b"""package sealward.release

import rego.v1

default allow := false

allow if input.ask == "allow"

allow if {
	input.ask == "strict"
	to_number("no number")
}

reasons := set()

obligations := data.reference.obligations
"""
_FILES: Final = (
    (".manifest", b'{"roots":["sealward/release"],"rego_version":1}'),
    ("policy.rego", _POLICY),
)
_REFERENCE: Final = b'{"obligations":{"ttl_seconds":60}}'
_ALLOWED: Final = b'{"allow":true,"obligations":{"ttl_seconds":60},"reasons":[]}'
_HOW: Final = "docs/run-a-control-plane.md says how to start an OPA server for this"


def require_usable(endpoint: Endpoint, engine: OpaEngine) -> None:
    """Return when the server is reachable, asks who its clients are, and answers as it must.

    Args:
        endpoint: the server.
        engine: one for this server, with roomy deadlines (`roomy`).

    Raises:
        InvalidEndpoint: a TLS file cannot be used.
        Unavailable: `policy_engine_unavailable`, with what to change.
    """
    policy = LayerPolicy(
        scope="probe",
        layer=Layer.ORGANISATION,
        kind=PolicyKind.RELEASE,
        bundle=bundle_from_files(dict(_FILES)),
    )
    try:
        answer = engine.evaluate(policy, b'{"ask":"allow"}', _REFERENCE)
    except PolicyEngineError as error:
        raise _unusable(endpoint, error.detail) from None
    if answer != _ALLOWED:
        raise _unusable(endpoint, f"it answers {answer[:80]!r} where the answer is {_ALLOWED!r}")
    _require_fault(endpoint, engine, policy, b'{"ask":"strict"}', EngineFault.ERROR)
    _require_fault(endpoint, engine, policy, b'{"ask":"undefined"}', EngineFault.UNDEFINED)
    engine.retire(policy)
    _refuse_strangers(endpoint)


def roomy(settings: OpaSettings) -> OpaSettings:
    """Return settings for the probe: it judges answers, not speed."""
    return replace(settings, deadline_seconds=_SECONDS, load_seconds=_SECONDS)


def _require_fault(
    endpoint: Endpoint,
    engine: OpaEngine,
    policy: LayerPolicy,
    document: bytes,
    fault: EngineFault,
) -> None:
    reference = _REFERENCE if fault is EngineFault.ERROR else b"{}"
    try:
        answer = engine.evaluate(policy, document, reference)
    except PolicyEngineError as error:
        if error.fault is fault:
            return
        raise _unusable(endpoint, error.detail) from None
    raise _unusable(endpoint, f"it answers {answer[:80]!r} where a policy's answer is {fault}")


def _refuse_strangers(endpoint: Endpoint) -> None:
    """Refuse a server that answers clients without a certificate: they could replace policies."""
    if endpoint.tls is None:
        return  # loopback: whoever is on this machine is let in, which the guide says
    stranger = OpaClient(endpoint, anonymous=True)
    try:
        answer = stranger.request("GET", f"/v1/data/{ROOT}", seconds=_SECONDS, max_bytes=_MAX_BYTES)
    except PolicyEngineError:
        return
    finally:
        stranger.close()
    if answer.status == _OK:
        raise _unusable(
            endpoint,
            "it answers clients that show no certificate; start it with --authentication=tls and"
            " --tls-ca-cert-file",
        )


def _unusable(endpoint: Endpoint, detail: str) -> Unavailable:
    return Unavailable(
        Code.policy_engine_unavailable, f"the OPA server {endpoint.url}: {detail}", _HOW
    )
