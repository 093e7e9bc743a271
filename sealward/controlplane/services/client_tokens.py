"""Client tokens: who may send input to a workload's agents, as EdDSA JWTs (RFC 7519, RFC 8037).

Agents check them on their own, against the keys that stand in their signed terms; nothing is
stored here but the audit entry of the minting.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import new_id
from sealward.controlplane.services import inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.wire import base64, json

TYPE: Final = "sealward-client+jwt"
DEFAULT_LIFETIME: Final = timedelta(hours=1)
MAX_LIFETIME: Final = timedelta(hours=24)  # agents cannot ask whether one was revoked


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientToken:
    """A client token that was just made; `text` is shown once and never stored."""

    token_id: str
    workload: str
    subject: str
    expires: datetime
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientTokens:
    """Use cases around client tokens."""

    on: Dependencies
    trust_domain: str

    def create(
        self,
        principal: Principal,
        *,
        workload: str,
        subject: str,
        lifetime: timedelta = DEFAULT_LIFETIME,
    ) -> ClientToken:
        """Mint a token that lets `subject` use the agents of one workload.

        Raises:
            Refused: forbidden, invalid_request.
            NotFound: workload_unknown.
        """
        require(principal, Right.client_token_create)
        inputs.name(subject, "the subject")
        inputs.lifetime(lifetime, "the lifetime of the token", most=MAX_LIFETIME)
        now = self.on.clock.now()
        issued = now.replace(microsecond=0)
        token_id = new_id(now, self.on.random_bytes)
        expires = issued + lifetime

        def work(tx: Transaction) -> str:
            tx.workloads.get(workload)
            body: Body = {
                "client_token": token_id,
                "workload": workload,
                "subject": subject,
                "expires": expires.isoformat(),
            }
            self.on.record(tx, AuditKind.token_created, body, by=principal, now=now)
            return tx.tenant

        tenant = self.on.database.write(work)
        text = self._sign(
            {
                "iss": self.trust_domain,
                "aud": f"workload:{workload}",
                "tenant": tenant,
                "sub": subject,
                "jti": token_id,
                "iat": int(issued.timestamp()),
                "exp": int(expires.timestamp()),
            }
        )
        return ClientToken(
            token_id=token_id, workload=workload, subject=subject, expires=expires, text=text
        )

    def _sign(self, claims: dict[str, str | int]) -> str:
        key = self.on.keystore.public(KeyPurpose.client_token)
        header = {"alg": "EdDSA", "typ": TYPE, "kid": hashlib.sha256(key).hexdigest()}
        signing_input = ".".join(
            base64.encode_url(json.canonical(part)) for part in (header, claims)
        )
        signature = self.on.keystore.sign(KeyPurpose.client_token, signing_input.encode("ascii"))
        return f"{signing_input}.{base64.encode_url(signature)}"
