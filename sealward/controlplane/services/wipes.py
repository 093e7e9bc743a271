"""Recording wipe statements: what an agent says it did, shown as claimed (F3)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sealward.controlplane.domain import audit
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.domain.leases import WipeStatement, WipeStatus
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.services.ports import Clock, Database, Transaction
from sealward.controlplane.services.refusals import refused
from sealward.protos import wipe
from sealward.verifier.rats.errors import VerifierError


@dataclass(frozen=True, slots=True)
class WipeService:
    """Accepts wipe statements on the agent listener."""

    database: Database
    clock: Clock
    random_bytes: RandomBytes

    def record(self, node_id: str, statement: bytes) -> bytes:
        """Store a statement and return its SHA-256; the same statement twice is stored once.

        It never shortens a horizon and changes no exposure by itself: closing one needs fresh
        evidence that binds the statement, from a measurement that is still trusted.

        Raises:
            Refused: it is malformed, not signed by the node's bound key, or about another node.
            NotFound: the node is unknown.
        """
        digest = hashlib.sha256(statement).digest()
        now = self.clock.now()
        public = self.database.read(lambda tx: tx.nodes.get(node_id).signing_public)
        try:
            said = wipe.verify(statement, public=public, node=bytes.fromhex(node_id))
        except VerifierError as error:
            raise refused(error) from error

        def write(tx: Transaction) -> None:
            for lease_id in said.leases:
                lease = tx.leases.find(lease_id.hex())
                if lease is None or lease.node_id != node_id:
                    raise Refused(Code.invalid_request, "the statement names no lease of this node")
            tx.terms.add_wipe(
                WipeStatement(
                    node_id=node_id,
                    statement_id=digest.hex(),
                    sequence=said.sequence or 0,
                    cose=statement,
                    received=now,
                    status=WipeStatus.claimed,
                )
            )
            tx.audit.append(
                audit.entry(
                    AuditKind.wipe_received,
                    {
                        "node": node_id,
                        "statement": digest.hex(),
                        "cause": said.cause.value,
                        "leases": [lease.hex() for lease in said.leases],
                        "content_keys": [item.content_key_id.hex() for item in said.items],
                        "elapsed_ms": said.elapsed_ms,
                        "status": WipeStatus.claimed.value,
                    },
                    now=now,
                    random_bytes=self.random_bytes,
                    tenant=tx.tenant,
                )
            )

        try:
            self.database.write(write)
        except Conflict as conflict:
            if conflict.code is not Code.already_exists:
                raise
        return digest
