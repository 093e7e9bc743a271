"""The gate between a caller and a model: who may ask, and whether the lease still runs.

Every inference passes twice: `enter` before a byte of input is read, `Permit.release` before a
byte of output is sent (security requirement F4). Between the two the lease may end. The agent's
gate (`sealward.enclave_agent.gate`) answers from its lease book; this module is what the server
asks, and knows no lease.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final, Protocol


@unique
class Refusal(StrEnum):
    """Why the gate is closed."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    UNKNOWN_MODEL = "unknown_model"
    STARTING = "starting"
    LEASE_EXPIRED = "lease_expired"
    LEASE_REVOKED = "lease_revoked"


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
