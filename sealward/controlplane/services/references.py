"""Reference sets: import, activate, withdraw, reinstate, revoke (blueprint 5.6).

A withdrawal is about what a value says and not about the set it was seen in: the same kind and key
is then in force nowhere, and no new set can bring it back. Only `reinstate` does, on purpose and on
record.

Every change of what is in force fences the scope `reference`, activations included: a new TCB floor
takes access away as surely as a withdrawn measurement does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.reference_values import (
    ReferenceSet,
    ReferenceSetState,
    ReferenceValue,
    ReferenceValueState,
)
from sealward.controlplane.services import inputs, reference_documents
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.distrust import DISTRUST
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.result import VerdictCode

# What an administrator may do to a set; an absent entry is a refusal. Draining closes itself.
TRANSITIONS: Final[Mapping[ReferenceSetState, frozenset[ReferenceSetState]]] = MappingProxyType(
    {
        ReferenceSetState.staged: frozenset({ReferenceSetState.active, ReferenceSetState.revoked}),
        ReferenceSetState.active: frozenset({ReferenceSetState.revoked}),
        ReferenceSetState.draining: frozenset({ReferenceSetState.revoked}),
        ReferenceSetState.revoked: frozenset(),
    }
)


@dataclass(frozen=True, slots=True)
class References:
    """Use cases around reference sets."""

    on: Dependencies

    def import_set(self, principal: Principal, document: bytes, *, activate: bool) -> ReferenceSet:
        """Read a document and keep it as a new set, in force at once or staged.

        Raises:
            Refused: forbidden, reference_invalid; reference_withdrawn, a value of it was withdrawn
                before.
            Conflict: already_exists, the name is taken: a set never changes its values.
        """
        require(principal, Right.reference_import)
        if activate:
            require(principal, Right.reference_activate)
        read = reference_documents.read(document)
        now = self.on.clock.now()
        if read.not_after is not None and read.not_after <= now:
            raise inputs.invalid("not_after has passed already", "import a set that still holds")
        state = ReferenceSetState.active if activate else ReferenceSetState.staged

        def work(tx: Transaction) -> ReferenceSet:
            body: Body = {
                "set": read.name,
                "digest": read.digest,
                "state": str(state),
                "not_after": None if read.not_after is None else read.not_after.isoformat(),
                "values": len(read.values),
            }
            entry_id = self.on.record(
                tx, AuditKind.reference_set_imported, body, by=principal, now=now
            )
            reference_set = ReferenceSet(
                name=read.name,
                digest=read.digest,
                state=state,
                not_after=read.not_after,
                imported_by=principal.name,
                imported=now,
                entry_id=entry_id,
            )
            tx.references.add_set(reference_set, read.values)
            _refuse_withdrawn(tx, read.name)
            if activate:
                self._fence(tx, "reference_set_activated", {"set": read.name}, now)
            return reference_set

        reference_set = self.on.database.write(work)
        if activate:
            self.on.wake.sweeps()
        return reference_set

    def activate(self, principal: Principal, name: str) -> ReferenceSet:
        """Put a staged set in force.

        Raises:
            NotFound, Refused(forbidden), Conflict(state_changed).
        """
        require(principal, Right.reference_activate)
        return self._move(principal, name, ReferenceSetState.active, "")

    def revoke(self, principal: Principal, name: str, *, reason: str) -> ReferenceSet:
        """Take a whole set out of force, for good.

        Raises:
            NotFound, Refused(forbidden, invalid_request), Conflict(state_changed).
        """
        require(principal, Right.reference_withdraw)
        inputs.text(reason, "the reason", least=1)
        return self._move(principal, name, ReferenceSetState.revoked, reason)

    def expire(self, principal: Principal, name: str, not_after: datetime | None) -> ReferenceSet:
        """Set or lift the instant from which a set is no longer in force.

        Raises:
            NotFound, Refused(forbidden), Conflict(state_changed) for a revoked set.
        """
        require(principal, Right.reference_activate)
        now = self.on.clock.now()

        def work(tx: Transaction) -> ReferenceSet:
            current = tx.references.get_set(name)
            if current.state is ReferenceSetState.revoked:
                raise Conflict(Code.state_changed, f"reference set {name} is revoked")
            body: Body = {
                "set": name,
                "not_after": None if not_after is None else not_after.isoformat(),
            }
            entry_id = self.on.record(
                tx, AuditKind.reference_set_changed, body, by=principal, now=now
            )
            changed = replace(current, not_after=not_after, entry_id=entry_id)
            tx.references.save_set(changed)
            self._fence(tx, "reference_set_changed", {"set": name}, now)
            return changed

        changed = self.on.database.write(work)
        self.on.wake.sweeps()
        return changed

    def withdraw(
        self, principal: Principal, name: str, kind: str, key: str, *, reason: str
    ) -> ReferenceValue:
        """Take one value out of force, in every set; leases that rest on it end.

        Raises:
            NotFound, Refused(forbidden, invalid_request), Conflict(state_changed).
        """
        require(principal, Right.reference_withdraw)
        inputs.text(reason, "the reason", least=1)
        now = self.on.clock.now()

        def work(tx: Transaction) -> ReferenceValue:
            _require_taking_back(tx, principal, name)
            current = tx.references.get_value(name, kind, key)
            if current.state is ReferenceValueState.withdrawn:
                raise Conflict(Code.state_changed, f"{kind} {key} was withdrawn before")
            tx.references.withdraw_value(kind, key, now, reason)
            body: Body = {"set": name, "kind": kind, "key": key, "reason": reason}
            self.on.record(tx, AuditKind.reference_value_withdrawn, body, by=principal, now=now)
            self._fence(tx, "reference_withdrawn", {"set": name, "kind": kind, "key": key}, now)
            return tx.references.get_value(name, kind, key)

        withdrawn = self.on.database.write(work)
        self.on.wake.sweeps()
        return withdrawn

    def reinstate(
        self, principal: Principal, name: str, kind: str, key: str, *, reason: str
    ) -> ReferenceValue:
        """Take a withdrawal back: the value counts again in every set in force that names it.

        Whoever may withdraw may not undo it: this gives access, so it needs the right to activate.
        Nodes regain nothing by it until they attest again (F17).

        Raises:
            NotFound, Refused(forbidden, invalid_request), Conflict(state_changed).
        """
        require(principal, Right.reference_activate)
        inputs.text(reason, "the reason", least=1)
        now = self.on.clock.now()

        def work(tx: Transaction) -> ReferenceValue:
            current = tx.references.get_value(name, kind, key)
            if current.state is not ReferenceValueState.withdrawn:
                raise Conflict(Code.state_changed, f"{kind} {key} is not withdrawn")
            tx.references.reinstate_value(kind, key)
            body: Body = {"set": name, "kind": kind, "key": key, "reason": reason}
            self.on.record(tx, AuditKind.reference_value_reinstated, body, by=principal, now=now)
            self._fence(tx, "reference_reinstated", {"set": name}, now)
            return tx.references.get_value(name, kind, key)

        reinstated = self.on.database.write(work)
        self.on.wake.sweeps()
        return reinstated

    def page(self, principal: Principal, *, limit: int, after: str | None) -> Page[ReferenceSet]:
        """List sets by name."""
        require(principal, Right.reference_read)
        return self.on.database.read(lambda tx: tx.references.sets(limit=limit, after=after))

    def get(self, principal: Principal, name: str) -> ReferenceSet:
        """Return one set; NotFound."""
        require(principal, Right.reference_read)
        return self.on.database.read(lambda tx: tx.references.get_set(name))

    def values(
        self, principal: Principal, name: str, *, limit: int, after: str | None
    ) -> Page[ReferenceValue]:
        """List the values of a set; NotFound when there is no such set."""
        require(principal, Right.reference_read)

        def work(tx: Transaction) -> Page[ReferenceValue]:
            tx.references.get_set(name)
            return tx.references.values(name, limit=limit, after=after)

        return self.on.database.read(work)

    def _move(
        self, principal: Principal, name: str, to: ReferenceSetState, reason: str
    ) -> ReferenceSet:
        now = self.on.clock.now()

        def work(tx: Transaction) -> ReferenceSet:
            _require_taking_back(tx, principal, name)
            current = tx.references.get_set(name)
            if to not in TRANSITIONS[current.state]:
                raise Conflict(
                    Code.state_changed, f"reference set {name} is {current.state}, not to be {to}"
                )
            body: Body = {"set": name, "from": str(current.state), "to": str(to), "reason": reason}
            entry_id = self.on.record(
                tx, AuditKind.reference_set_changed, body, by=principal, now=now
            )
            moved = replace(current, state=to, entry_id=entry_id)
            tx.references.save_set(moved)
            self._fence(tx, f"reference_set_{to}", {"set": name}, now)
            return moved

        moved = self.on.database.write(work)
        self.on.wake.sweeps()
        return moved

    def _fence(self, tx: Transaction, code: str, subject: Mapping[str, str], now: datetime) -> None:
        """Fence; a distrust set is a cause of its own, which concerns nodes of the past as well."""
        distrusts = _distrusts(tx, subject["set"])
        cause = VerdictCode.DISTRUSTED.value if distrusts else code
        self.on.fence(tx, fences.REFERENCE, {"code": cause, **subject}, now)


def _distrusts(tx: Transaction, set_name: str) -> bool:
    """Whether a set names what to distrust; such a set holds nothing else."""
    return bool(tx.references.of_kind(set_name, DISTRUST))


def _require_taking_back(tx: Transaction, principal: Principal, set_name: str) -> None:
    """Refuse to lift distrust to whoever may only take access away: lifting it gives access.

    Raises:
        Refused: forbidden.
    """
    if _distrusts(tx, set_name):
        require(principal, Right.reference_activate)


def _refuse_withdrawn(tx: Transaction, set_name: str) -> None:
    """Refuse a set that would bring back what was withdrawn.

    Raises:
        Refused: reference_withdrawn.
    """
    value = tx.references.withdrawn_in(set_name)
    if value is not None:
        raise Refused(
            Code.reference_withdrawn,
            f"{value.kind} {value.key} was withdrawn before",
            "leave it out, or take the withdrawal back with `sealward reference reinstate` first",
        )
