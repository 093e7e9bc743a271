"""Authenticates a CCA token.

Numbered procedure of `authenticate`:

    (1) the token parses (token.py);
    (2) the tenant gives a key for the platform's instance id, and for its implementation id where
        the tenant says one;
    (3) the platform token's signature verifies under it: ES256 or ES384, by the curve of the key;
    (4) the platform's life cycle is one in which its keys mean something;
    (5) the platform's challenge is the digest of the realm's key, so the platform vouches for it;
    (6) the realm token's signature verifies under that key: ES384.

The platform token is the endorsement of the realm's key: nothing in it changes until the platform
starts again. So (3) to (5) are remembered under digests of its bytes, of the realm's key and of the
tenant's key, and what its bytes were read as with them.

The caller MUST check that the realm's challenge binds what it expects and that this is fresh: a
token has no date, and there is no chain whose dates could be checked.

Checks that could make sense but do not exist:
  - sizes of measurements against the names of their algorithms: the two disagree in published
    tokens, and reference values are compared whole;
  - firmware components against anything: reference values are the appraisal policy's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from sealward.verifier.formats.cca import token as tokens
from sealward.verifier.formats.cca.token import ParsedPlatform
from sealward.verifier.pki import cose_keys, instance_keys
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats import arm
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import foreign_cbor, foreign_cose
from sealward.verifier.wire.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealward.verifier.formats.cca.token import Realm, Token
    from sealward.verifier.pki.chain_cache import ChainCache

_PLATFORM_OWNER: Final = "the CCA platform"
_REALM_OWNER: Final = "the realm"
_HASHES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "sha-256": lambda data: hashlib.sha256(data).digest(),
    "sha-384": lambda data: hashlib.sha384(data).digest(),
    "sha-512": lambda data: hashlib.sha512(data).digest(),
}
_COORDINATE: Final = 48
_EC2, _P384 = 2, 2  # RFC 9053 sections 7.1 and 7.1.1


@dataclass(frozen=True, slots=True)
class RealmKey:
    """A realm attestation key that a platform vouches for.

    Attributes:
        key: the key.
        signed_sha256: of the structure that the platform signed.
    """

    key: ec.EllipticCurvePublicKey = field(repr=False)
    signed_sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A token whose signatures and binding were checked; built only by `authenticate`.

    Attributes:
        token: the parsed token.
        anchor: the tenant's key under which the platform signed.
        evidence_sha256: of the token as given, lower-case hex.
        signed_sha256: over the digests of the two structures that were signed.
    """

    token: Token
    anchor: InstanceKey
    evidence_sha256: str = field(repr=False)
    signed_sha256: str = field(repr=False)


def authenticate(data: bytes, *, keys: tuple[InstanceKey, ...], cache: ChainCache) -> VerifiedToken:
    """Run the procedure above on the bytes of a token.

    Raises:
        MalformedEvidence: the token does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    token = tokens.parse(  # (1)
        data, known=lambda platform: cache.get(_platform_name(platform), ParsedPlatform)
    )
    anchor = instance_keys.find(  # (2)
        keys,
        Scheme.CCA,
        instance_id=token.platform.instance_id,
        implementation_id=token.platform.implementation_id,
    )
    realm_key = _endorsed(token, anchor, cache)  # (3), (4), (5)
    if token.realm_message.alg != foreign_cose.ES384:
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            "a realm token is signed with another algorithm than its format uses",
            expected="ES384 (-35)",
            actual=str(token.realm_message.alg),
        )
    signed = cose_keys.verify_sign1(  # (6)
        token.realm_message, realm_key.key, owner=_REALM_OWNER
    )
    return VerifiedToken(
        token=token,
        anchor=anchor,
        evidence_sha256=hashlib.sha256(data).hexdigest(),
        signed_sha256=_signed_digest(realm_key, signed),
    )


def _endorsed(token: Token, anchor: InstanceKey, cache: ChainCache) -> RealmKey:
    realm = token.realm
    platform = _platform_name(token.platform_bytes)
    key = (
        *platform,
        hashlib.sha256(anchor.spki or b"").digest(),
        realm.public_key,
        realm.key_hash_algorithm,
        realm.profile or "",
    )
    found = cache.get(key, RealmKey)
    if found is None:
        found = _endorse(token, anchor)
        cache.put(key, found)
        cache.put(platform, ParsedPlatform(token.platform_message, token.platform))
    return found


def _platform_name(data: bytes) -> tuple[str, bytes]:
    return ("cca", hashlib.sha256(data).digest())


def _endorse(token: Token, anchor: InstanceKey) -> RealmKey:
    platform_key = instance_keys.public_key(anchor)
    signed = cose_keys.verify_sign1(token.platform_message, platform_key, owner=_PLATFORM_OWNER)
    arm.check_lifecycle(token.platform.lifecycle, claim="cca.lifecycle")
    check_realm_key(token)
    return RealmKey(
        key=cose_keys.p384_key(_point(token.realm), owner=_REALM_OWNER),
        signed_sha256=hashlib.sha256(signed).digest(),
    )


def check_realm_key(token: Token) -> None:
    """Step 5. Raises RefusedEvidence ALGORITHM_FORBIDDEN or ATTESTATION_KEY_UNPROVEN."""
    realm = token.realm
    digest = _HASHES.get(realm.key_hash_algorithm)
    if digest is None:
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            "the digest of the realm's key is made with an algorithm that is not allowed",
            expected=", ".join(_HASHES),
            actual=realm.key_hash_algorithm,
        )
    expected = digest(realm.public_key)
    if expected != token.platform.challenge:
        raise RefusedEvidence(
            Code.ATTESTATION_KEY_UNPROVEN,
            "the platform token vouches for another realm key",
            claim="cca.challenge",
            expected=expected.hex(),
            actual=token.platform.challenge.hex(),
        )


def _point(realm: Realm) -> bytes:
    """Return the SEC 1 point of a realm's key: bare in the first form, else out of a COSE_Key."""
    if realm.profile is None:
        return realm.public_key
    what = "realm public key"
    value = foreign_cbor.decode(
        realm.public_key, what=what, max_bytes=len(realm.public_key), max_depth=1
    )
    fields = Statement(value, what)
    kind, curve = fields.integer(1, "key type"), fields.integer(-1, "curve")
    if (kind, curve) != (_EC2, _P384):
        raise MalformedEvidence(0, f"{what}: not an EC2 key on P-384")
    x = fields.octets(-2, "x", size=_COORDINATE)
    y = fields.octets(-3, "y", size=_COORDINATE)
    fields.finish()
    return b"\x04" + x + y


def _signed_digest(realm_key: RealmKey, signed: bytes) -> str:
    parts = realm_key.signed_sha256 + hashlib.sha256(signed).digest()
    return hashlib.sha256(parts).hexdigest()
