"""The inference listener's gate, answered from the lease book itself.

One source of truth: a permit asks the book, the boot-time clock and the time ratchet at the very
instant at which input would be read or output would leave (security-requirements F4). So a lease
ends here the moment its terms or its horizon end it, whether or not anything has been wiped yet.

A model's name belongs to its workload: what one workload's lease says, and why it ended, says
nothing of a model of the same name in another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NoReturn, TypeAlias

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

Versions: TypeAlias = frozenset[tuple[int, bytes]]
"""Version and SHA-256 of the sealed header's core: which models a name stands for in a lease."""

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
        self._ended: dict[tuple[str, str], WipeCause] = {}  # by workload and model: why last

    def note_ended(self, leases: Iterable[HeldLease], cause: WipeCause) -> None:
        """Remember why leases ended, so that their clients are told."""
        for lease in leases:
            for model in lease.models:
                self._ended[lease.workload, model.name] = cause

    def identify(self, token: str) -> None:
        """See `LeaseGate`."""
        self._authenticate(token)

    def enter(self, model: str, token: str) -> Permit:
        """See `LeaseGate`."""
        caller = self._authenticate(token)
        covered = {
            lease: versions
            for lease in self._book.live(self._clock())
            if (versions := self._covered(lease, model))
        }
        mine = next((lease for lease in covered if lease.workload == caller.workload), None)
        if mine is None:
            self._refuse(caller.workload, model, elsewhere=bool(covered))
        if len(set(covered.values())) > 1:
            # Callers name a model, not a lease: were two workloads leased different models of
            # one name, a token for one would reach what is leased to the other.
            raise Refused(
                Refusal.FORBIDDEN, f"another workload's '{model}' on this node is another model"
            )
        return LeasePermit(
            lease_id=mine.lease_id,
            workload=mine.workload,
            model=model,
            versions=covered[mine],
            gate=self,
        )

    def require_covered(self, permit: LeasePermit) -> None:
        """Return while the lease of this permit may be used and still covers what it did.

        A renewal can take one version of a model out of a lease that goes on.

        Raises:
            Refused: it ended, or covers less.
        """
        lease = self._book.live_lease(permit.lease_id, self._clock())
        if lease is None:
            key = permit.workload, permit.model
            raise _refusal(self._ended.get(key, WipeCause.HORIZON))
        if not permit.versions <= self._covered(lease, permit.model):
            raise _refusal(WipeCause.REVOKED)

    def _covered(self, lease: HeldLease, model: str) -> Versions:
        """Return what this lease lets run under this name."""
        return frozenset(
            (leased.version, leased.core_digest)
            for leased in lease.models
            if leased.name == model and self._book.may_run(lease.workload, leased)
        )

    def _refuse(self, workload: str, model: str, *, elsewhere: bool) -> NoReturn:
        # The watchdog may not have recorded the end yet: a lease that is held but not live has
        # passed its horizon.
        mine = (lease for lease in self._book.held() if lease.workload == workload)
        if any(self._covered(lease, model) for lease in mine):
            raise _refusal(WipeCause.HORIZON)
        cause = self._ended.get((workload, model))
        if cause is not None:
            raise _refusal(cause)
        if elsewhere:
            raise Refused(Refusal.FORBIDDEN, f"the token is not for the workload of '{model}'")
        raise Refused(Refusal.UNKNOWN_MODEL, f"no model '{model}' on this node")

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
class LeasePermit:
    """A permit under one lease.

    Attributes:
        lease_id: which.
        workload: of the lease and of the caller.
        model: the name that was asked for.
        versions: what the lease covered under that name when the request entered.
        gate: who is asked at release.
    """

    lease_id: bytes
    workload: str
    model: str
    versions: Versions
    gate: BookGate

    def release(self) -> None:
        """See `Permit`."""
        self.gate.require_covered(self)


def _refusal(cause: WipeCause) -> Refused:
    return Refused(*_WHY[cause])
