"""Principals and their tokens: the one-time bootstrap credential, service tokens, authentication.

The first start writes a bootstrap credential. It stands for no role: all it can do is to create the
first named administrator, once, within 24 hours (F15). After that it is spent, and principals are
made by principals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Code, Conflict, NotFound, Refused
from sealward.controlplane.domain.principals import Principal, Role, ServiceToken
from sealward.controlplane.domain.records import MAX_PAGE, Page, new_id
from sealward.controlplane.services import bearer, inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.bearer import Bearer, BearerUse
from sealward.controlplane.services.ports import Transaction

BOOTSTRAP_LIFETIME: Final = timedelta(hours=24)
MAX_TOKEN_LIFETIME: Final = timedelta(days=90)
BOOTSTRAP_ID: Final = "0" * 32  # no id made by new_id looks like it: its time would be 1970
_BOOTSTRAP_NAME: Final = "bootstrap"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token that was just made: the only time its text exists outside its owner's hands."""

    principal: Principal
    token: ServiceToken
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Principals:
    """Use cases around who may ask."""

    on: Dependencies

    def issue_bootstrap_credential(self) -> str | None:
        """Return a fresh bootstrap credential, or None when an administrator was already named.

        An earlier one that was not used is revoked: the credential is whatever the last start
        wrote. The caller puts it into a 0600 file and nowhere else.
        """
        now = self.on.clock.now()
        minted = bearer.mint(
            BearerUse.service, self.on.keystore, now=now, random_bytes=self.on.random_bytes
        )

        def work(tx: Transaction) -> bool:
            holder = tx.principals.find(BOOTSTRAP_ID)
            if holder is None:
                holder = Principal(
                    principal_id=BOOTSTRAP_ID, name=_BOOTSTRAP_NAME, roles=(), created=now
                )
                tx.principals.add(holder)
            if holder.disabled is not None:
                return False
            for token in _tokens_of(tx, BOOTSTRAP_ID):
                if token.revoked is None:
                    tx.tokens.revoke(token.token_id, now)
            token = _token(minted, holder, now, BOOTSTRAP_LIFETIME, single_use=True)
            tx.tokens.add(token)
            body = _token_body(token)
            self.on.record(tx, AuditKind.token_created, body, by=holder, now=now)
            return True

        return minted.text if self.on.database.write(work) else None

    def bootstrap(self, credential: str, name: str) -> IssuedToken:
        """Spend the bootstrap credential: create the first administrator and a token for it.

        Raises:
            Refused: unauthenticated, token_expired, token_revoked, token_spent, invalid_request.
        """
        inputs.name(name, "the name of the principal")
        now = self.on.clock.now()
        spent = self._genuine(credential)
        if not spent.single_use:
            raise Refused(
                Code.unauthenticated,
                "not a bootstrap credential",
                "use the file that the first start of the control plane wrote",
            )
        _refuse_unusable(spent, now)
        minted = bearer.mint(
            BearerUse.service, self.on.keystore, now=now, random_bytes=self.on.random_bytes
        )
        principal = Principal(
            principal_id=new_id(now, self.on.random_bytes),
            name=name,
            roles=(Role.admin,),
            created=now,
        )
        token = _token(minted, principal, now, MAX_TOKEN_LIFETIME)

        def work(tx: Transaction) -> None:
            tx.tokens.use(spent.token_id, now)
            holder = tx.principals.get(spent.principal_id)
            tx.principals.save(replace(holder, disabled=now))
            used: Body = {"token": spent.token_id}
            self.on.record(tx, AuditKind.token_used, used, by=holder, now=now)
            self._add(tx, principal, token, by=holder, now=now)

        self.on.database.write(work)
        return IssuedToken(principal=principal, token=token, text=minted.text)

    def authenticate(self, credential: str) -> Principal:
        """Return the principal that a service token stands for.

        Raises:
            Refused: unauthenticated for a token that is unknown, wrong or not for this use alike;
                token_expired, token_revoked only to the holder of the right secret.
        """
        token = self._genuine(credential)
        if token.single_use:
            raise Refused(
                Code.unauthenticated,
                "the bootstrap credential does only one thing",
                "create the first administrator with `sealward admin bootstrap`",
            )
        _refuse_unusable(token, self.on.clock.now())
        principal = self.on.database.read(lambda tx: tx.principals.find(token.principal_id))
        if principal is None or principal.disabled is not None:
            raise _unauthenticated()
        return principal

    def create(
        self, principal: Principal, *, name: str, roles: tuple[Role, ...], lifetime: timedelta
    ) -> IssuedToken:
        """Create a principal with a first token.

        Raises:
            Refused: forbidden, invalid_request.
            Conflict: already_exists, the name is taken.
        """
        require(principal, Right.principal_manage)
        inputs.name(name, "the name of the principal")
        inputs.lifetime(lifetime, "the lifetime of the token", most=MAX_TOKEN_LIFETIME)
        if not roles or len(set(roles)) != len(roles):
            raise inputs.invalid("roles are not distinct, or none", "name each role once")
        now = self.on.clock.now()
        minted = bearer.mint(
            BearerUse.service, self.on.keystore, now=now, random_bytes=self.on.random_bytes
        )
        created = Principal(
            principal_id=new_id(now, self.on.random_bytes),
            name=name,
            roles=tuple(sorted(roles)),
            created=now,
        )
        token = _token(minted, created, now, lifetime)
        self.on.database.write(lambda tx: self._add(tx, created, token, by=principal, now=now))
        return IssuedToken(principal=created, token=token, text=minted.text)

    def issue_token(
        self, principal: Principal, principal_id: str, *, lifetime: timedelta
    ) -> IssuedToken:
        """Make a further token for a principal, so that nobody's last one has to run out.

        Raises:
            Refused: forbidden, invalid_request.
            NotFound: there is no such principal.
            Conflict: state_changed, the principal is disabled.
        """
        require(principal, Right.principal_manage)
        inputs.lifetime(lifetime, "the lifetime of the token", most=MAX_TOKEN_LIFETIME)
        now = self.on.clock.now()
        minted = bearer.mint(
            BearerUse.service, self.on.keystore, now=now, random_bytes=self.on.random_bytes
        )

        def work(tx: Transaction) -> IssuedToken:
            holder = tx.principals.get(principal_id)
            if holder.disabled is not None:
                raise Conflict(Code.state_changed, f"{holder.name} is disabled")
            token = _token(minted, holder, now, lifetime)
            tx.tokens.add(token)
            self.on.record(tx, AuditKind.token_created, _token_body(token), by=principal, now=now)
            return IssuedToken(principal=holder, token=token, text=minted.text)

        return self.on.database.write(work)

    def disable(self, principal: Principal, principal_id: str) -> Principal:
        """Disable a principal: none of its tokens authenticates from then on.

        Raises:
            Refused: forbidden; invalid_request for oneself, which would lock the last one out.
            NotFound: there is no such principal.
            Conflict: state_changed, it is disabled already.
        """
        require(principal, Right.principal_manage)
        if principal_id == principal.principal_id:
            raise inputs.invalid("nobody disables himself", "ask another administrator")
        now = self.on.clock.now()

        def work(tx: Transaction) -> Principal:
            # Read again: two administrators who disable each other at once must not both succeed.
            require(tx.principals.get(principal.principal_id), Right.principal_manage)
            current = tx.principals.get(principal_id)
            if current.disabled is not None:
                raise Conflict(Code.state_changed, f"{current.name} is disabled already")
            disabled = replace(current, disabled=now)
            tx.principals.save(disabled)
            body: Body = {"principal": disabled.principal_id, "name": disabled.name}
            self.on.record(tx, AuditKind.principal_disabled, body, by=principal, now=now)
            return disabled

        return self.on.database.write(work)

    def revoke(self, principal: Principal, token_id: str) -> ServiceToken:
        """Revoke a token; anybody may revoke his own.

        Raises:
            Refused: forbidden.
            NotFound: there is no such token.
        """
        now = self.on.clock.now()

        def work(tx: Transaction) -> ServiceToken:
            token = tx.tokens.find(token_id)
            if token is None or token.principal_id != principal.principal_id:
                require(principal, Right.token_revoke)
            if token is None:
                raise NotFound(Code.not_found, f"there is no token {token_id}")
            if token.revoked is not None:
                return token
            tx.tokens.revoke(token_id, now)
            body = _token_body(token)
            self.on.record(tx, AuditKind.token_revoked, body, by=principal, now=now)
            return replace(token, revoked=now)

        return self.on.database.write(work)

    def page(self, principal: Principal, *, limit: int, after: str | None) -> Page[Principal]:
        """List principals by id."""
        require(principal, Right.principal_read)
        return self.on.database.read(lambda tx: tx.principals.page(limit=limit, after=after))

    def tokens(self, principal: Principal, *, limit: int, after: str | None) -> Page[ServiceToken]:
        """List tokens by id."""
        require(principal, Right.principal_read)
        return self.on.database.read(lambda tx: tx.tokens.page(limit=limit, after=after))

    def _genuine(self, credential: str) -> ServiceToken:
        presented = bearer.parse(credential)
        if presented is None:
            raise _unauthenticated()
        token = self.on.database.read(lambda tx: tx.tokens.find(presented.token_id))
        if token is None or not self._is_genuine(token, presented):
            raise _unauthenticated()
        return token

    def _is_genuine(self, token: ServiceToken, presented: Bearer) -> bool:
        return bearer.is_genuine(
            BearerUse.service,
            self.on.keystore,
            presented,
            mac_key_id=token.mac_key_id,
            secret_mac=token.secret_mac,
        )

    def _add(
        self,
        tx: Transaction,
        principal: Principal,
        token: ServiceToken,
        *,
        by: Principal,
        now: datetime,
    ) -> None:
        tx.principals.add(principal)
        body: Body = {
            "principal": principal.principal_id,
            "name": principal.name,
            "roles": [str(role) for role in principal.roles],
        }
        self.on.record(tx, AuditKind.principal_created, body, by=by, now=now)
        tx.tokens.add(token)
        self.on.record(tx, AuditKind.token_created, _token_body(token), by=by, now=now)


def _token(
    minted: bearer.Minted,
    principal: Principal,
    now: datetime,
    lifetime: timedelta,
    *,
    single_use: bool = False,
) -> ServiceToken:
    return ServiceToken(
        token_id=minted.token_id,
        principal_id=principal.principal_id,
        mac_key_id=minted.mac_key_id,
        secret_mac=minted.secret_mac,
        created=now,
        expires=now + lifetime,
        single_use=single_use,
    )


def _token_body(token: ServiceToken) -> Body:
    return {
        "token": token.token_id,
        "principal": token.principal_id,
        "expires": token.expires.isoformat(),
        "single_use": token.single_use,
    }


def _tokens_of(tx: Transaction, principal_id: str) -> Iterator[ServiceToken]:
    after: str | None = None
    while True:
        page = tx.tokens.page(limit=MAX_PAGE, after=after)
        yield from (token for token in page.items if token.principal_id == principal_id)
        if page.after is None:
            return
        after = page.after


def _refuse_unusable(token: ServiceToken, now: datetime) -> None:
    if token.revoked is not None:
        raise Refused(Code.token_revoked, "the token was revoked", "use a current token")
    if token.used is not None:
        raise Refused(
            Code.token_spent,
            "the bootstrap credential was used before",
            "use the credentials file that `sealward admin bootstrap` wrote",
        )
    if now >= token.expires:
        hint = (
            "restart the control plane, which writes a new one"
            if token.single_use
            else "ask an administrator for a new one"
        )
        raise Refused(Code.token_expired, "the token has expired", hint)


def _unauthenticated() -> Refused:
    # One sentence for every cause: whoever guesses learns nothing about what exists.
    return Refused(Code.unauthenticated, "no valid token", "give a current service token")
