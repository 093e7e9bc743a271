"""The lease ratchet (docs/specs/evidence-binding.md section 4).

Two holders of one state betray each other.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.nodes import Node
from sealward.controlplane.services.ports import Keystore
from sealward.verifier.rats.binding import Binding, ratchet_mac

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class RatchetStep:
    """Where a node's ratchet stands after an accepted attestation."""

    confirmed: int
    issued: int


def step(keystore: Keystore, node: Node, binding: Binding) -> RatchetStep:
    """Check the ratchet of an attestation and return the next state.

    Raises:
        Refused: `clone_detected` for an index that is neither the confirmed nor the issued one, or
            a MAC that its holder cannot have made.
    """
    if binding.ratchet is None:
        if node.ratchet_confirmed != 0:
            raise Refused(
                Code.clone_detected,
                "the attestation carries no ratchet, but this instance has used one before",
                "retire the node; the genuine one enrols again with fresh keys",
            )
        # Nothing was used yet: it is the first attestation, or its answers were lost on the way.
        return RatchetStep(confirmed=0, issued=node.ratchet_issued + 1)
    index, mac = binding.ratchet
    expected = ratchet_mac(secret(keystore, node.node_id, index), binding.nonce, binding.tls_spki)
    known = index in {node.ratchet_confirmed, node.ratchet_issued} and index > 0
    if not known or not hmac.compare_digest(mac, expected):
        raise Refused(
            Code.clone_detected,
            f"ratchet index {index} is neither confirmed ({node.ratchet_confirmed}) nor issued"
            f" ({node.ratchet_issued}), or its proof is wrong",
            "retire the node; the genuine one enrols again with fresh keys",
        )
    return RatchetStep(confirmed=index, issued=node.ratchet_issued + 1)


def secret(keystore: Keystore, node_id: str, index: int) -> bytes:
    """Return the ratchet secret of one index; derived, never stored."""
    info = b"sealward/ratchet-secret/v1" + bytes.fromhex(node_id) + index.to_bytes(8, "big")
    return keystore.derive(KeyPurpose.ratchet, info, _SECRET_BYTES)
