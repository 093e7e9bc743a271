"""The gate between a caller and a model: who may ask, and whether the lease still runs.

Every inference passes twice: `enter` before a byte of input is read, `Permit.release` before a
byte of output is sent (security requirement F4). Between the two the lease may end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final, Protocol

from sealward.enclave_agent.inference.client_tokens import InvalidClientToken

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sealward.enclave_agent.inference.client_tokens import ClientIdentity, ClientTokenVerifier


@unique
class Refusal(StrEnum):
    """Why the gate is closed."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    UNKNOWN_MODEL = "unknown_model"
    STARTING = "starting"
    LEASE_EXPIRED = "lease_expired"
    LEASE_REVOKED = "lease_revoked"


_EXPIRED: Final = "the lease reached its horizon unrenewed"


class Refused(Exception):
    """The gate is closed to this request.

    Attributes:
        code: the closed code that clients see.
        reason: one clause for the client.
    """

    def __init__(self, code: Refusal, reason: str) -> None:
        self.code: Final = code
        self.reason: Final = reason
        super().__init__(f"{code}: {reason}")


class Permit(Protocol):
    """One admitted request."""

    def release(self) -> None:
        """Return when the output may leave.

        Raises:
            Refused: the lease ended while the model computed; the output must be dropped.
        """
        ...


class LeaseGate(Protocol):
    """What the server asks. Neither method awaits: a decision is one instant."""

    def identify(self, token: str) -> None:
        """Return when `token` is valid for any workload here: enough to see names and states.

        Raises:
            Refused: UNAUTHENTICATED.
        """
        ...

    def enter(self, model: str, token: str) -> Permit:
        """Return a permit when the caller may use `model` and its lease runs.

        Raises:
            Refused: any code.
        """
        ...


@dataclass(slots=True)
class _Lease:
    """What the gate knows of one model. Mutable: renewals extend it in place.

    Attributes:
        workload: the workload whose clients may call.
        horizon_ns: CLOCK_BOOTTIME at which use ends; None until the first grant.
        ended: why it ended; never cleared, a new grant makes a new lease.
    """

    workload: str
    horizon_ns: int | None = None
    ended: Refused | None = None

    def ends_by(self, boottime_ns: int) -> bool:
        """Return whether the horizon has come; it is exclusive."""
        return self.horizon_ns is not None and boottime_ns >= self.horizon_ns


class HorizonGate:
    """The gate of an agent: leases by model, ended by revocation or by the boot-time clock.

    Args of the constructor: `boottime_ns` reads CLOCK_BOOTTIME, which goes on while the machine
    sleeps; `now` is the wall clock, used for client tokens only.
    """

    def __init__(
        self,
        *,
        tokens: ClientTokenVerifier,
        boottime_ns: Callable[[], int],
        now: Callable[[], datetime],
    ) -> None:
        self._tokens = tokens
        self._boottime_ns = boottime_ns
        self._now = now
        self._leases: dict[str, _Lease] = {}

    def replace_tokens(self, tokens: ClientTokenVerifier) -> None:
        """Verify callers with other keys from now on."""
        self._tokens = tokens

    def expect(self, model: str, workload: str) -> None:
        """Make `model` known before its lease is granted: callers are told that it starts."""
        self._current(model, workload)

    def extend(self, model: str, workload: str, horizon_ns: int) -> None:
        """Grant or renew. A horizon only moves as given: the terms decide, not this gate."""
        self._current(model, workload).horizon_ns = horizon_ns

    def end(self, model: str, code: Refusal, reason: str) -> None:
        """End a lease now: nothing enters, and nothing computed under it is released."""
        lease = self._leases.get(model)
        if lease is not None and lease.ended is None:
            lease.ended = Refused(code, reason)

    def identify(self, token: str) -> None:
        """See LeaseGate."""
        self._authenticate(token)

    def _current(self, model: str, workload: str) -> _Lease:
        """Return the lease that still runs, or a new one in place of one that does not.

        An ended lease is never revived: permits hold on to it, and what was computed across the
        gap must not leave.
        """
        lease = self._leases.get(model)
        if lease is not None and lease.workload != workload:
            self.end(model, Refusal.LEASE_REVOKED, "the model went to another workload")
        if lease is not None and lease.ends_by(self._boottime_ns()):
            self.end(model, Refusal.LEASE_EXPIRED, _EXPIRED)
        if lease is None or lease.ended is not None:
            lease = self._leases[model] = _Lease(workload)
        return lease

    def enter(self, model: str, token: str) -> Permit:
        """See LeaseGate."""
        caller = self._authenticate(token)
        lease = self._leases.get(model)
        if lease is None:
            raise Refused(Refusal.UNKNOWN_MODEL, f"no model '{model}' on this node")
        if lease.workload != caller.workload:
            raise Refused(Refusal.FORBIDDEN, f"the token is not for the workload of '{model}'")
        permit = _LeasePermit(lease, self._boottime_ns)
        permit.release()  # the same question, now
        return permit

    def _authenticate(self, token: str) -> ClientIdentity:
        try:
            return self._tokens.verify(token, now=self._now())
        except InvalidClientToken as error:
            raise Refused(Refusal.UNAUTHENTICATED, str(error)) from None


@dataclass(frozen=True, slots=True)
class _LeasePermit:
    """A permit under one lease."""

    lease: _Lease
    boottime_ns: Callable[[], int]

    def release(self) -> None:
        """See Permit."""
        if self.lease.ended is not None:
            raise Refused(self.lease.ended.code, self.lease.ended.reason)
        if self.lease.horizon_ns is None:
            raise Refused(Refusal.STARTING, "the lease is not granted yet; try again shortly")
        if self.lease.ends_by(self.boottime_ns()):
            raise Refused(Refusal.LEASE_EXPIRED, _EXPIRED)
