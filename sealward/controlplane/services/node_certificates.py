"""The port to the authority for node certificates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    """A certificate for exactly the key that evidence bound.

    Attributes:
        chain: DER, leaf first.
        not_after: its end; a lease never outlives it (F33).
    """

    chain: tuple[bytes, ...]
    not_after: datetime


class NodeCertificates(Protocol):
    """Issues short-lived certificates to admitted nodes."""

    def issue(self, tls_spki: bytes, node_id: str, *, now: datetime) -> NodeCertificate:
        """Return a certificate for the instance key.

        Raises:
            Refused: `evidence_refused` when the key is not a P-256 key.
        """

    def renewed(
        self, tls_spki: bytes, node_id: str, *, not_after: datetime, now: datetime
    ) -> NodeCertificate | None:
        """Return a fresh certificate when one that ends at `not_after` has passed half its life."""
