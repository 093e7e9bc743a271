"""Fence scopes: the names of the counters that decisions depend on (F16).

A decision reads the epochs of its scopes before it evaluates and commits only if none has moved
since.
"""

from __future__ import annotations

from sealward.controlplane.domain.policies import PolicyKind
from sealward.verifier.rats.collateral import Key

REFERENCE = "reference"
PLATFORM = "platform"
TRUST_ANCHOR = "trust-anchor"
COLLATERAL = "collateral"  # any piece at all; no decision depends on it, only what is remembered


def policy(kind: PolicyKind) -> str:
    """Return the scope of every activation of one kind."""
    return f"policy/{kind.value}"


def node(node_id: str) -> str:
    """Return the scope of one node: quarantine, retirement, clone detection."""
    return f"node/{node_id}"


def workload(name: str) -> str:
    """Return the scope of one workload: its rules and its model versions."""
    return f"workload/{name}"


def collateral(key: Key) -> str:
    """Return the scope of one key of collateral: every accepted piece moves it."""
    return f"{COLLATERAL}/{key}"
