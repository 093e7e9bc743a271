"""The audit log for those who read, prove and take it away (blueprint 5.8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sealward.controlplane.domain.audit import AuditEntry, StoredCheckpoint
from sealward.controlplane.domain.checkpoint import LogKey, log_name
from sealward.controlplane.domain.errors import Code, NotFound
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import Page
from sealward.controlplane.services.administration import Dependencies
from sealward.controlplane.services.audit_export import export_log
from sealward.controlplane.services.authorization import Right, require


@dataclass(frozen=True, slots=True)
class AuditLog:
    """Use cases around the audit log; all of them read."""

    on: Dependencies
    trust_domain: str

    def page(self, principal: Principal, *, limit: int, after: str | None) -> Page[AuditEntry]:
        """List entries by id, sequenced or not."""
        require(principal, Right.audit_read)
        return self.on.database.read(lambda tx: tx.audit.page(limit=limit, after=after))

    def checkpoint(self, principal: Principal) -> StoredCheckpoint:
        """Return the newest signed checkpoint.

        Raises:
            NotFound: not_found, the sequencer has signed none yet.
        """
        require(principal, Right.audit_read)
        newest = self.on.database.read(lambda tx: tx.audit.latest_checkpoint())
        if newest is None:
            raise NotFound(Code.not_found, "no checkpoint was signed yet", "try again in a second")
        return newest

    def log_key(self, principal: Principal) -> str:
        """Return the public key that checkpoints are verified with: name+hash+key."""
        require(principal, Right.audit_read)
        public = self.on.keystore.public(KeyPurpose.log)
        return LogKey(log_name(self.trust_domain), public).text()

    def export(self, principal: Principal) -> Iterator[bytes]:
        """Return the lines of an export up to the newest checkpoint (audit-log.md section 4).

        The right is checked here and not at the first line.
        """
        require(principal, Right.audit_read)
        return export_log(self.on.database, log_name(self.trust_domain))
