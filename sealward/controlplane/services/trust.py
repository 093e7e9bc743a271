"""The trust configuration: the file that an agent must hold, measured, before it speaks to us."""

from __future__ import annotations

from dataclasses import dataclass

from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.services.authorization import Right, require
from sealward.protos.trust import TrustConfiguration


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFile:
    """The document's bytes and their SHA-256 in lower hex: what the launch measures."""

    document: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Trust:
    """The one use case around it."""

    configuration: TrustConfiguration

    def file(self, principal: Principal) -> TrustFile:
        """Return the document exactly as agents measure it."""
        require(principal, Right.trust_read)
        return TrustFile(
            document=self.configuration.encode(), digest=self.configuration.digest().hex()
        )
