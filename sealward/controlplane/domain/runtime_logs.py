"""What is kept of a node's runtime measurement list between two attestations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRuntimeLog:
    """The verifier's state of one instance (docs/specs/ima-claims.md 2).

    Attributes:
        node_id: the instance.
        digest: lower hex SHA-256 of `state`: whoever has it decoded need not read it again.
        state: as `sealward.verifier.formats.ima.state` encodes it.
    """

    node_id: str
    digest: str
    state: bytes = field(repr=False)

    @classmethod
    def of(cls, node_id: str, state: bytes) -> Self:
        """Return the record of an encoded state."""
        return cls(node_id=node_id, digest=hashlib.sha256(state).hexdigest(), state=state)
