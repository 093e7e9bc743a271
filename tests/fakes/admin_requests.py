"""Valid requests to every guarded route of the admin API, with the right that each one needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fakes.admin_plane import NODE_ID

from sealward.controlplane.services.authorization import Right

PLATFORM = "snp:chip:" + "02" * 64
MEASUREMENT = "0a" * 48
REFERENCE_SET = {
    "name": "agents",
    "not_after": None,
    "values": [
        {
            "kind": "measurement",
            "key": MEASUREMENT,
            "value": {
                "name": "agent-image 1.2",
                "components": ["firmware", "kernel", "cmdline", "rootfs", "agent"],
                "clock": None,
                "trust_config": "host_data",
            },
        },
        {"kind": "tcb_floor", "key": "snp/Milan", "value": {"bootloader": 3, "snp": 22}},
    ],
}
POLICY = {
    "kind": "release",
    "layer": "organisation",
    "name": "release",
    "files": {
        ".manifest": '{"roots":["sealward/release"],"rego_version":1}',
        "policy.rego": "package sealward.release\n\nimport rego.v1\n\nallow := true\n",
    },
}
DIGEST = "00" * 32
TOKEN = "0" * 31 + "1"


@dataclass(frozen=True)
class Call:
    """One route: its template as the application declares it, and a request that is of its form."""

    method: str
    route: str
    right: Right
    body: Any = None
    raw: bytes | None = None

    @property
    def path(self) -> str:
        values = {
            "principal_id": TOKEN,
            "token_id": TOKEN,
            "digest": DIGEST,
            "fingerprint": DIGEST,
            "key_id": DIGEST,
            "name": "agents",
            "platform_id": PLATFORM,
            "workload": "scoring",
            "version": "1",
            "node_id": NODE_ID,
            "lease_id": "1" * 32,
            "correlation_id": "c0ffee00",
        }
        return self.route.format(**values)

    @property
    def content(self) -> bytes | None:
        return self.raw if self.body is None else json.dumps(self.body).encode()

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.content is None else {"Content-Type": "application/json"}

    def __str__(self) -> str:
        return f"{self.method} {self.route} ({self.right})"


WHY = {"reason": "because"}
_MODEL = "/v1/workloads/{workload}/models"
_SET = "/v1/reference-sets/{name}"
_NODE = "/v1/nodes/{node_id}"

CALLS = (
    Call("GET", "/v1/status", Right.status_read),
    Call("GET", "/v1/trust-configuration", Right.trust_read),
    Call("GET", "/v1/principals", Right.principal_read),
    Call(
        "POST",
        "/v1/principals",
        Right.principal_manage,
        {"name": "bob", "roles": ["viewer"], "lifetime_seconds": 60},
    ),
    Call(
        "POST",
        "/v1/principals/{principal_id}/tokens",
        Right.principal_manage,
        {"lifetime_seconds": 60},
    ),
    Call("POST", "/v1/principals/{principal_id}/disable", Right.principal_manage),
    Call("GET", "/v1/tokens", Right.principal_read),
    Call("POST", "/v1/tokens/{token_id}/revoke", Right.token_revoke),
    Call("GET", "/v1/policies", Right.policy_read),
    Call("GET", "/v1/policies/{digest}", Right.policy_read),
    Call("POST", "/v1/policies", Right.policy_upload, POLICY),
    Call("GET", "/v1/activations", Right.policy_read),
    Call("GET", "/v1/activations/active", Right.policy_read),
    Call("POST", "/v1/activations", Right.policy_activate, {"digest": DIGEST, "replaces": None}),
    Call("GET", "/v1/reference-sets", Right.reference_read),
    Call("POST", "/v1/reference-sets", Right.reference_import, REFERENCE_SET),
    Call("GET", _SET, Right.reference_read),
    Call("GET", f"{_SET}/values", Right.reference_read),
    Call("POST", f"{_SET}/activate", Right.reference_activate),
    Call("POST", f"{_SET}/revoke", Right.reference_withdraw, WHY),
    Call("PUT", f"{_SET}/not-after", Right.reference_activate, {"not_after": None}),
    Call(
        "POST",
        f"{_SET}/withdrawals",
        Right.reference_withdraw,
        {"kind": "measurement", "key": MEASUREMENT, "reason": "because"},
    ),
    Call(
        "POST",
        f"{_SET}/reinstatements",
        Right.reference_activate,
        {"kind": "measurement", "key": MEASUREMENT, "reason": "because"},
    ),
    Call("GET", "/v1/collateral", Right.collateral_read),
    Call("GET", "/v1/collateral/archive", Right.collateral_read),
    Call("GET", "/v1/collateral/forecast", Right.collateral_read),
    Call("GET", "/v1/collateral/forecast/nodes", Right.collateral_read),
    Call("GET", "/v1/collateral/{digest}", Right.collateral_read),
    Call("POST", "/v1/collateral", Right.collateral_import, raw=b"0"),
    Call("POST", "/v1/collateral/forecast/proposed", Right.collateral_import, raw=b"0"),
    Call("GET", "/v1/platforms", Right.platform_read),
    Call("PUT", "/v1/platforms/{platform_id}", Right.platform_allow, {"state": "allowed"}),
    Call(
        "PUT",
        "/v1/platforms/{platform_id}",
        Right.platform_deny,
        {"state": "denied", "note": "broken"},
    ),
    Call("GET", "/v1/trust-anchors", Right.trust_anchor_read),
    Call("POST", "/v1/trust-anchors", Right.trust_anchor_add, raw=b"{}"),
    Call("POST", "/v1/trust-anchors/{fingerprint}/remove", Right.trust_anchor_remove, WHY),
    Call("GET", "/v1/join-tokens", Right.platform_read),
    Call("POST", "/v1/join-tokens", Right.join_token_create, {"lifetime_seconds": 60}),
    Call("POST", "/v1/join-tokens", Right.label_assign, {"labels": {"site": "berlin"}}),
    Call("GET", "/v1/workloads", Right.workload_read),
    Call("POST", "/v1/workloads", Right.workload_create, {"name": "scoring"}),
    Call("GET", "/v1/workloads/{name}", Right.workload_read),
    Call("GET", "/v1/workloads/{name}/key", Right.workload_read),
    Call("GET", "/v1/workloads/{name}/creators", Right.workload_read),
    Call("POST", "/v1/workloads/{name}/creators", Right.creator_manage, {"public_key": ""}),
    Call("POST", "/v1/workloads/{name}/creators/{key_id}/remove", Right.creator_manage, WHY),
    Call("GET", _MODEL, Right.model_read),
    Call("POST", _MODEL, Right.model_register, raw=b"{}"),
    Call("POST", f"{_MODEL}/{{name}}/versions/{{version}}/withdraw", Right.model_withdraw, WHY),
    Call("GET", f"{_MODEL}/{{name}}/versions/{{version}}/exposure", Right.lease_read),
    Call(
        "POST",
        "/v1/client-tokens",
        Right.client_token_create,
        {"workload": "scoring", "subject": "bob"},
    ),
    Call("GET", "/v1/nodes", Right.node_read),
    Call("GET", _NODE, Right.node_read),
    Call("GET", f"{_NODE}/explain", Right.node_explain),
    Call("GET", "/v1/explanations/{correlation_id}", Right.node_explain),
    Call("GET", "/v1/decisions", Right.node_explain),
    Call("POST", f"{_NODE}/admit", Right.node_admit, WHY),
    Call("POST", f"{_NODE}/reject", Right.node_restrict, WHY),
    Call("POST", f"{_NODE}/retire", Right.node_restrict, WHY),
    Call("POST", f"{_NODE}/quarantine", Right.node_restrict, WHY),
    Call("POST", f"{_NODE}/release", Right.node_release, WHY),
    Call("POST", f"{_NODE}/results", Right.node_result, {"audience": "https://bank.example"}),
    Call("POST", "/v1/result-keys/rotate", Right.result_key_rotate, {"revoke": False}),
    Call("GET", "/v1/leases", Right.lease_read),
    Call("GET", "/v1/leases/{lease_id}", Right.lease_read),
    Call("GET", "/v1/audit/entries", Right.audit_read),
    Call("GET", "/v1/audit/checkpoint", Right.audit_read),
    Call("GET", "/v1/audit/log-key", Right.audit_read),
    Call("GET", "/v1/audit/export", Right.audit_read),
)
