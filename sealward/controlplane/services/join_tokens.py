"""Join tokens: each admits exactly one node and gives it labels (F6).

Enrollment checks one and spends it in the transaction that records the admission.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.principals import JoinToken, Principal
from sealward.controlplane.domain.records import Labels, Page
from sealward.controlplane.services import bearer, inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.bearer import BearerUse
from sealward.controlplane.services.ports import Transaction

DEFAULT_LIFETIME: Final = timedelta(hours=1)
MAX_LIFETIME: Final = timedelta(days=7)
MAX_LABELS: Final = 16  # a token describes one node's place, not an inventory


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedJoinToken:
    """A join token that was just made; `text` is shown once and never stored."""

    token: JoinToken
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class JoinTokens:
    """Use cases around join tokens."""

    on: Dependencies

    def create(
        self, principal: Principal, *, labels: Labels = (), lifetime: timedelta = DEFAULT_LIFETIME
    ) -> IssuedJoinToken:
        """Make a join token.

        Raises:
            Refused: forbidden, invalid_request.
        """
        if labels:
            require(principal, Right.label_assign)
        require(principal, Right.join_token_create)
        inputs.lifetime(lifetime, "the lifetime of the join token", most=MAX_LIFETIME)
        now = self.on.clock.now()
        minted = bearer.mint(
            BearerUse.join, self.on.keystore, now=now, random_bytes=self.on.random_bytes
        )
        token = JoinToken(
            token_id=minted.token_id,
            mac_key_id=minted.mac_key_id,
            secret_mac=minted.secret_mac,
            labels=_labels(labels),
            created_by=principal.name,
            created=now,
            expires=now + lifetime,
        )

        def work(tx: Transaction) -> None:
            tx.join_tokens.add(token)
            body: Body = {
                "token": token.token_id,
                "labels": dict(token.labels),
                "expires": token.expires.isoformat(),
            }
            self.on.record(tx, AuditKind.join_token_created, body, by=principal, now=now)

        self.on.database.write(work)
        return IssuedJoinToken(token=token, text=minted.text)

    def page(self, principal: Principal, *, limit: int, after: str | None) -> Page[JoinToken]:
        """List join tokens by id."""
        require(principal, Right.platform_read)
        return self.on.database.read(lambda tx: tx.join_tokens.page(limit=limit, after=after))


def _labels(labels: Labels) -> Labels:
    if len(labels) > MAX_LABELS or len({name for name, _ in labels}) != len(labels):
        raise inputs.invalid(
            f"labels are not at most {MAX_LABELS} with distinct names", "give each name once"
        )
    for name, value in labels:
        inputs.name(name, "the name of a label")
        inputs.name(value, "the value of a label")
    return tuple(sorted(labels))
