"""Authenticates a PSA token.

Numbered procedure of `authenticate`:

    (1) the token parses (token.py);
    (2) the tenant gives a key for the device's instance id, and for its implementation id where the
        tenant says one;
    (3) the signature verifies under it (ES256, or ES384 by the curve of the key); or the MAC does
        (HMAC 256/256), where the tenant gave a secret;
    (4) the life cycle is one in which the device's keys mean something.

A MAC says that somebody with the secret made the token, and the tenant has it too: it convinces
nobody else.

The caller MUST check that the nonce binds what it expects and that this is fresh: a token has no
date, and there is no chain whose dates could be checked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from sealward.verifier.formats.psa import token as tokens
from sealward.verifier.pki import cose_keys, instance_keys
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats import arm
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire import foreign_cose

if TYPE_CHECKING:
    from sealward.verifier.formats.psa.token import Token
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.wire.foreign_cose import Message

_OWNER: Final = "the PSA device"


@dataclass(frozen=True, slots=True)
class _DeviceKey:
    """A key that was loaded before; loading takes a tenth of a verification."""

    key: ec.EllipticCurvePublicKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A token whose signature or MAC was checked; built only by `authenticate`.

    Attributes:
        token: the parsed token.
        anchor: the tenant's key that it verified under.
        evidence_sha256: of the token as given, lower-case hex.
        signed_sha256: of the structure that was signed.
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
    token = tokens.parse(data)  # (1)
    anchor = instance_keys.find(  # (2)
        keys,
        Scheme.PSA,
        instance_id=token.instance_id,
        implementation_id=token.implementation_id,
    )
    _check_authenticator(token.message, anchor, cache)  # (3)
    arm.check_lifecycle(token.lifecycle, claim="psa.lifecycle")  # (4)
    return VerifiedToken(
        token=token,
        anchor=anchor,
        evidence_sha256=hashlib.sha256(data).hexdigest(),
        signed_sha256=hashlib.sha256(token.message.to_be_signed()).hexdigest(),
    )


def _check_authenticator(message: Message, anchor: InstanceKey, cache: ChainCache) -> None:
    if message.tag != foreign_cose.MAC0_TAG:
        cose_keys.verify_sign1(message, _key(anchor, cache), owner=_OWNER)
    elif anchor.secret is not None:
        cose_keys.verify_mac0(message, anchor.secret, owner=_OWNER)
    else:
        raise RefusedEvidence(
            Code.ENDORSEMENT_MISSING,
            "the token carries a MAC, which only the device's own secret can check",
            hint="add the device's secret as a trust anchor, or use a device that signs",
        )


def _key(anchor: InstanceKey, cache: ChainCache) -> ec.EllipticCurvePublicKey:
    name = ("psa", hashlib.sha256(anchor.spki or b"").digest())
    found = cache.get(name, _DeviceKey)
    if found is None:
        found = _DeviceKey(instance_keys.public_key(anchor))
        cache.put(name, found)
    return found.key
