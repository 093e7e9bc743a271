"""Recording attempts that were refused before anything was decided (explanations.md, 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

from sealward.controlplane.domain.attempts import (
    KEPT_OF_A_NODE,
    STRANGERS_A_MINUTE,
    Attempt,
    AttemptCall,
)
from sealward.controlplane.domain.errors import Code, Conflict, DomainError
from sealward.controlplane.domain.nodes import NodeState
from sealward.controlplane.domain.records import JsonText, RandomBytes, new_id
from sealward.controlplane.services.allowance import Allowance
from sealward.controlplane.services.ports import Clock, Database, Transaction
from sealward.controlplane.services.refusals import finding_of
from sealward.verifier.rats.binding import thumbprint
from sealward.verifier.wire import json

_ENROLLED: Final = frozenset((NodeState.admitted, NodeState.retired))
_STRANGERS: Final = "strangers"  # no node id: those are hex
_MINUTE_S: Final = 60.0
# What says nothing about the node, or cannot be written anyway.
_PASSING: Final = frozenset(
    (Code.database_unavailable, Code.overloaded, Code.shutting_down, Code.challenge_spent)
)

Write = Callable[[Transaction], None]


def nothing(tx: Transaction) -> None:
    """Write nothing."""
    del tx


@dataclass(frozen=True, slots=True)
class Attempts:
    """Keeps what is needed to explain a refusal, within a budget.

    Attributes:
        clock: for instants and for the budget.
        random_bytes: for ids.
        nodes: how often one node's attempts are recorded.
        strangers: how often those of all others are, together.
    """

    clock: Clock
    random_bytes: RandomBytes
    nodes: Allowance
    strangers: Allowance

    @classmethod
    def of(cls, clock: Clock, random_bytes: RandomBytes) -> Self:
        """Return a recorder with a full budget."""
        return cls(
            clock,
            random_bytes,
            nodes=Allowance(clock, burst=KEPT_OF_A_NODE, each_s=1.0),
            strangers=Allowance(
                clock, burst=STRANGERS_A_MINUTE, each_s=_MINUTE_S / STRANGERS_A_MINUTE
            ),
        )

    @contextmanager
    def kept(
        self, database: Database, call: AttemptCall, tls_spki: bytes, correlation_id: str
    ) -> Iterator[None]:
        """Record what is refused inside, in a unit of work of its own.

        None where nothing would come of it: what cost a caller nothing must not cost a write (F10).
        """
        try:
            yield
        except DomainError as error:
            if self._has_room(database, thumbprint(tls_spki).hex()):
                database.write(self.note(error, call, tls_spki, correlation_id))
            raise

    def _has_room(self, database: Database, node_id: str) -> bool:
        enrolled = database.read(lambda tx: _is_enrolled(tx, node_id))
        return self.nodes.left(node_id) if enrolled else self.strangers.left(_STRANGERS)

    def note(
        self, error: Exception, call: AttemptCall, tls_spki: bytes, correlation_id: str
    ) -> Write:
        """Return what records a refused attempt, to be run in a unit of work.

        Args:
            error: why it was refused; what is no refusal is not recorded.
            call: what was asked for.
            tls_spki: a key (DER) that the caller has proven to hold.
            correlation_id: what the node was told to quote.
        """
        if not isinstance(error, DomainError) or isinstance(error, Conflict):
            return nothing
        if error.code in _PASSING:
            return nothing
        reason = JsonText(json.canonical(finding_of(error).to_json()).decode())
        code, now = error.code.value, self.clock.now()
        node_id = thumbprint(tls_spki).hex()

        def write(tx: Transaction) -> None:
            enrolled = _is_enrolled(tx, node_id)
            if not (self.nodes.take(node_id) if enrolled else self.strangers.take(_STRANGERS)):
                return
            tx.attempts.add(
                Attempt(
                    attempt_id=new_id(now, self.random_bytes),
                    correlation_id=correlation_id,
                    node_id=node_id,
                    enrolled=enrolled,
                    call=call,
                    code=code,
                    reason=reason,
                    at=now,
                )
            )

        return write


def _is_enrolled(tx: Transaction, node_id: str) -> bool:
    node = tx.nodes.find(node_id)
    return node is not None and node.state in _ENROLLED
