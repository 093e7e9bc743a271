"""A gate for inference tests: real client tokens, leases that a test grants and ends by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fakes.inference_models import ISSUER, NOW, TENANT, TokenMint, boottime_ns

from sealward.enclave_agent.inference.client_tokens import ClientTokenVerifier, InvalidClientToken
from sealward.enclave_agent.inference.gate import Permit, Refusal, Refused

if TYPE_CHECKING:
    from sealward.enclave_agent.inference.client_tokens import ClientIdentity


@dataclass
class HandGate:
    """One model, leased until `horizon_ns` on CLOCK_BOOTTIME unless `end` was called."""

    mint: TokenMint
    model: str
    horizon_ns: int = 0
    ended: Refused | None = None
    tokens: ClientTokenVerifier = field(init=False)

    def __post_init__(self) -> None:
        keys = (self.mint.key.public_key(),)
        self.tokens = ClientTokenVerifier(issuer=ISSUER, tenant=TENANT, keys=keys)

    def end(self, code: Refusal, reason: str) -> None:
        self.ended = Refused(code, reason)

    def identify(self, token: str) -> None:
        self._authenticate(token)

    def enter(self, model: str, token: str) -> Permit:
        caller = self._authenticate(token)
        if model != self.model:
            raise Refused(Refusal.UNKNOWN_MODEL, f"no model '{model}'")
        if caller.workload != self.mint.workload:
            raise Refused(Refusal.FORBIDDEN, "another workload")
        self.release()
        return self

    def release(self) -> None:
        if self.ended is not None:
            raise self.ended
        if boottime_ns() >= self.horizon_ns:
            raise Refused(Refusal.LEASE_EXPIRED, "the lease reached its horizon unrenewed")

    def _authenticate(self, token: str) -> ClientIdentity:
        try:
            return self.tokens.verify(token, now=NOW)
        except InvalidClientToken as error:
            raise Refused(Refusal.UNAUTHENTICATED, str(error)) from None
