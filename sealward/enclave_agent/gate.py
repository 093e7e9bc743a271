"""The inference listener's gate, answered from the lease book itself.

One source of truth: a permit asks the book, the boot-time clock and the time ratchet at the very
instant at which input would be read or output would leave (security-requirements F4). So a lease
ends here the moment its terms or its horizon end it, whether or not anything has been wiped yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealward.enclave_agent.clock import BootClock, WallClock
from sealward.enclave_agent.inference.client_tokens import (
    ClientIdentity,
    ClientTokenVerifier,
    InvalidClientToken,
)
from sealward.enclave_agent.inference.gate import Permit, Refusal, Refused
from sealward.enclave_agent.leases import HeldLease, LeaseBook
from sealward.protos.wipe import WipeCause

_WHY: Final = MappingProxyType(
    {
        WipeCause.REVOKED: (Refusal.LEASE_REVOKED, "the lease was revoked"),
        WipeCause.HORIZON: (Refusal.LEASE_EXPIRED, "the lease reached its horizon unrenewed"),
        WipeCause.SHUTDOWN: (Refusal.LEASE_REVOKED, "the agent is stopping"),
    }
)


class BookGate:
    """`LeaseGate` over the lease book."""

    def __init__(
        self,
        book: LeaseBook,
        *,
        trust_domain: str,
        tenant: str,
        clock: BootClock,
        wall_clock: WallClock,
    ) -> None:
        self._book: Final = book
        self._trust_domain: Final = trust_domain
        self._tenant: Final = tenant
        self._clock: Final = clock
        self._wall_clock: Final = wall_clock
        self._keys: tuple[bytes, ...] = ()
        self._tokens = self._verifier(())
        self._ended: dict[str, WipeCause] = {}  # by model: why it was last taken away

    def note_ended(self, leases: Iterable[HeldLease], cause: WipeCause) -> None:
        """Remember why leases ended, so that their clients are told."""
        for lease in leases:
            self._ended |= dict.fromkeys((model.name for model in lease.models), cause)

    def identify(self, token: str) -> None:
        """See `LeaseGate`."""
        self._authenticate(token)

    def enter(self, model: str, token: str) -> Permit:
        """See `LeaseGate`."""
        caller = self._authenticate(token)
        live = [
            lease
            for lease in self._book.live(self._clock())
            if any(leased.name == model for leased in lease.models)
        ]
        if not live:
            self._refuse_without_lease(model)
        mine = next((lease for lease in live if lease.workload == caller.workload), None)
        if mine is None or not _same_versions(model, live):
            # Callers name a model, not a lease: were two workloads leased different versions of
            # one name, a token for one would reach what is leased to the other.
            raise Refused(Refusal.FORBIDDEN, f"the token is not for the workload of '{model}'")
        return _LeasePermit(lease_id=mine.lease_id, model=model, gate=self)

    def require_live(self, lease_id: bytes, model: str) -> None:
        """Return while this lease may be used.

        Raises:
            Refused: it ended.
        """
        if not self._book.is_live(lease_id, self._clock()):
            raise _refusal(self._ended.get(model, WipeCause.HORIZON))

    def _refuse_without_lease(self, model: str) -> NoReturn:
        # The watchdog may not have recorded the end yet: a lease that is held but not live has
        # passed its horizon.
        if self._book.holds(model):
            raise _refusal(WipeCause.HORIZON)
        cause = self._ended.get(model)
        if cause is None:
            raise Refused(Refusal.UNKNOWN_MODEL, f"no model '{model}' on this node")
        raise _refusal(cause)

    def _authenticate(self, token: str) -> ClientIdentity:
        keys = self._book.client_token_keys
        if keys != self._keys:
            self._keys, self._tokens = keys, self._verifier(keys)
        # A guest clock that was set back cannot make an expired token good again.
        unix_ms = max(self._wall_clock(), self._book.signed_ms)
        try:
            caller = self._tokens.verify(token, now=datetime.fromtimestamp(unix_ms / 1000, UTC))
        except InvalidClientToken as error:
            raise Refused(Refusal.UNAUTHENTICATED, str(error)) from None
        self._book.observe_signed_time(caller.issued_at * 1000)
        return caller

    def _verifier(self, keys: tuple[bytes, ...]) -> ClientTokenVerifier:
        return ClientTokenVerifier(
            issuer=self._trust_domain,
            tenant=self._tenant,
            keys=tuple(Ed25519PublicKey.from_public_bytes(key) for key in keys),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _LeasePermit:
    """A permit under one lease."""

    lease_id: bytes
    model: str
    gate: BookGate

    def release(self) -> None:
        """See `Permit`."""
        self.gate.require_live(self.lease_id, self.model)


def _same_versions(model: str, leases: list[HeldLease]) -> bool:
    versions = {
        frozenset(leased.version for leased in lease.models if leased.name == model)
        for lease in leases
    }
    return len(versions) == 1


def _refusal(cause: WipeCause) -> Refused:
    return Refused(*_WHY[cause])
