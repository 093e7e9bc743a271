"""Tokens of inference clients: JWTs (RFC 7519) that the control plane signs for one workload.

    header {"alg": "EdDSA", "kid": hex SHA-256 of the raw Ed25519 key, "typ": "sealward-client+jwt"}
    claims {"iss": trust domain, "aud": "workload:<name>", "sub": client id, "tenant", "jti",
            "iat", "exp"}

Exactly these members: a claim that this version does not know may be a restriction, and ignoring
a restriction is failing open. What a token allows is the gate's business, not decided here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import jwt

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64, json

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from sealward.verifier.wire.json import Value

TOKEN_TYPE: Final = "sealward-client+jwt"  # noqa: S105 - a media type, not a secret
ALGORITHMS: Final = ("EdDSA",)
AUDIENCE_PREFIX: Final = "workload:"
CLOCK_LEEWAY: Final = timedelta(seconds=10)  # between the clocks of control plane and node
MAX_TOKEN: Final = 4096  # characters; ours are about 500
MAX_CACHED: Final = 1024  # verified tokens remembered, about 0.5 MB

_HEADER: Final = frozenset({"alg", "kid", "typ"})
_CLAIMS: Final = frozenset({"iss", "aud", "sub", "exp", "iat", "jti", "tenant"})
_MAX_TEXT: Final = 512


class InvalidClientToken(Exception):
    """The token proves nothing. The text says why, and never quotes the token."""


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Who calls, as the control plane signed it.

    Attributes:
        client: the client's id.
        tenant: the client's tenant.
        workload: the one workload the token is for.
        token_id: `jti`.
        issued_at, expires_at: seconds since 1970.
    """

    client: str
    tenant: str
    workload: str
    token_id: str
    issued_at: int
    expires_at: int


class ClientTokenVerifier:
    """Verifies tokens of one trust domain and tenant under a fixed set of keys.

    Keys never change in place: new keys mean a new verifier, and with it an empty cache.
    """

    def __init__(self, *, issuer: str, tenant: str, keys: tuple[Ed25519PublicKey, ...]) -> None:
        self._issuer = issuer
        self._tenant = tenant
        self._keys = {hashlib.sha256(key.public_bytes_raw()).hexdigest(): key for key in keys}
        # By digest of the token, oldest first; saves an Ed25519 verification per request.
        self._verified: dict[bytes, ClientIdentity] = {}

    def verify(self, token: str, *, now: datetime) -> ClientIdentity:
        """Return who the token speaks for.

        Raises:
            InvalidClientToken: anything but a valid token of this domain and tenant at `now`.
        """
        if len(token) > MAX_TOKEN or not token.isascii():
            raise InvalidClientToken("client token is not a JWT of usual size")
        digest = hashlib.sha256(token.encode("ascii")).digest()
        identity = self._verified.get(digest)
        if identity is None:
            identity = self._verify(token)
        self._check_time(identity, now)
        self._remember(digest, identity)
        return identity

    def _verify(self, token: str) -> ClientIdentity:
        parts = token.split(".")
        if len(parts) != len(("header", "claims", "signature")):
            raise InvalidClientToken("client token is not a JWT")
        header = _members(parts[0], _HEADER, "client token header")
        claims = _members(parts[1], _CLAIMS, "client token claims")
        if header["typ"] != TOKEN_TYPE:
            raise InvalidClientToken(f"client token type is not {TOKEN_TYPE}")
        key = self._keys.get(_text(header["kid"], "kid"))
        if key is None:
            raise InvalidClientToken("client token is signed by a key that is not accepted here")
        try:
            # Times are checked against our `now` below: PyJWT would ask the system clock. The
            # audience names the workload, which the gate compares.
            jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                issuer=self._issuer,
                options={
                    "require": sorted(_CLAIMS),
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
        except jwt.PyJWTError as error:
            raise InvalidClientToken(f"client token refused: {type(error).__name__}") from None
        return self._identity(claims)

    def _identity(self, claims: dict[str, Value]) -> ClientIdentity:
        audience = _text(claims["aud"], "aud")
        workload = audience.removeprefix(AUDIENCE_PREFIX)
        if workload == audience or not workload:
            raise InvalidClientToken("client token is not for a workload")
        if claims["tenant"] != self._tenant:
            raise InvalidClientToken("client token is of another tenant")
        identity = ClientIdentity(
            client=_text(claims["sub"], "sub"),
            tenant=self._tenant,
            workload=workload,
            token_id=_text(claims["jti"], "jti"),
            issued_at=_instant(claims["iat"], "iat"),
            expires_at=_instant(claims["exp"], "exp"),
        )
        if identity.expires_at <= identity.issued_at:
            raise InvalidClientToken("client token ends before it begins")
        return identity

    @staticmethod
    def _check_time(identity: ClientIdentity, now: datetime) -> None:
        at, leeway = now.timestamp(), CLOCK_LEEWAY.total_seconds()
        if at >= identity.expires_at + leeway:
            raise InvalidClientToken("client token has expired; ask the control plane for another")
        if at < identity.issued_at - leeway:
            raise InvalidClientToken("client token is from the future; check this node's clock")

    def _remember(self, digest: bytes, identity: ClientIdentity) -> None:
        self._verified[digest] = identity
        if len(self._verified) > MAX_CACHED:
            del self._verified[next(iter(self._verified))]


def _members(part: str, names: frozenset[str], what: str) -> dict[str, Value]:
    try:
        raw = base64.decode_url(part, what=what, max_bytes=MAX_TOKEN)
        value = json.decode(raw, what=what, max_bytes=MAX_TOKEN, max_depth=4)
    except MalformedEvidence as error:
        raise InvalidClientToken(error.detail) from None
    if not isinstance(value, dict) or value.keys() != names:
        raise InvalidClientToken(f"{what}: members are not exactly {', '.join(sorted(names))}")
    return value


def _text(value: Value, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
        raise InvalidClientToken(f"client token: {what} is not text")
    return value


def _instant(value: Value, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise InvalidClientToken(f"client token: {what} is not an instant in seconds")
    return value
