"""CCA and PSA tokens made here, under keys that a test gives as trust anchors.

Written with `cryptography` and cbor2 and none of our readers, so that a mistake of theirs is not
made twice. A change to `...` leaves a claim out.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cache
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealward.verifier.pki.instance_keys import InstanceKey, Scheme

INSTANCE_ID = b"\x01" + bytes(range(32))
IMPLEMENTATION_ID = bytes(range(32, 64))
SECRET = bytes(range(100, 132))
COMPONENT = {1: "BL", 2: b"\x0b" * 32, 4: "1.0", 5: b"\x05" * 32, 6: "sha-256"}


def key(owner: str, curve: str = "secp256r1") -> ec.EllipticCurvePrivateKey:
    """One key for an owner and curve, whichever token asks."""
    return _key(owner, curve)


@cache
def _key(_owner: str, curve: str) -> ec.EllipticCurvePrivateKey:
    curves = {"secp256r1": ec.SECP256R1(), "secp384r1": ec.SECP384R1(), "secp521r1": ec.SECP521R1()}
    return ec.generate_private_key(curves[curve])


def spki(owner: str, curve: str = "secp256r1") -> bytes:
    """The public key in DER."""
    public = key(owner, curve).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def anchor(scheme: Scheme, owner: str = "maker", curve: str = "secp256r1") -> InstanceKey:
    """The key of our instance, as a tenant gives it."""
    return InstanceKey(scheme=scheme, spki=spki(owner, curve), instance_id=INSTANCE_ID)


def sign1(signer: ec.EllipticCurvePrivateKey, claims: Any, alg: int | None = None) -> bytes:  # noqa: ANN401 - any CBOR
    """A tagged COSE_Sign1 by the algorithm of the key's curve; `alg` writes another one."""
    size, algorithm, usual = {
        256: (32, hashes.SHA256(), -7),
        384: (48, hashes.SHA384(), -35),
        521: (66, hashes.SHA512(), -36),
    }[signer.curve.key_size]
    protected = cbor2.dumps({1: usual if alg is None else alg})
    payload = cbor2.dumps(claims)
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = decode_dss_signature(signer.sign(signed, ec.ECDSA(algorithm)))
    signature = r.to_bytes(size, "big") + s.to_bytes(size, "big")
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))


def mac0(secret: bytes, claims: Any, alg: int = 5) -> bytes:  # noqa: ANN401 - any CBOR
    """A tagged COSE_Mac0 with HMAC 256/256."""
    protected = cbor2.dumps({1: alg})
    payload = cbor2.dumps(claims)
    tag = hmac.digest(secret, cbor2.dumps(["MAC0", protected, b"", payload]), "sha256")
    return cbor2.dumps(cbor2.CBORTag(17, [protected, {}, payload, tag]))


def _kept(claims: dict[int, Any]) -> dict[int, Any]:
    return {name: value for name, value in claims.items() if value is not ...}


def realm_key(*, legacy: bool = False, owner: str = "realm") -> bytes:
    """The claim with the realm's key: a COSE_Key, or the bare point of the first profile."""
    public = key(owner, "secp384r1").public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if legacy:
        return point
    return cbor2.dumps({1: 2, -1: 2, -2: point[1:49], -3: point[49:]})


def platform(public: bytes, changes: dict[int, Any] | None = None) -> dict[int, Any]:
    """The claims of a platform that vouches for a realm's key."""
    whole = {
        265: "tag:arm.com,2023:cca_platform#1.0.0",
        10: hashlib.sha256(public).digest(),
        2396: IMPLEMENTATION_ID,
        256: INSTANCE_ID,
        2401: b"\xcf",
        2395: 0x3000,
        2399: [COMPONENT],
        2400: "https://verifier.example/",
        2402: "sha-256",
    }
    return _kept(whole | (changes or {}))


def realm(public: bytes, changes: dict[int, Any] | None = None) -> dict[int, Any]:
    """The claims of a realm."""
    whole = {
        265: "tag:arm.com,2023:realm#1.0.0",
        10: bytes(range(64)),
        44235: bytes(64),
        44238: b"\x11" * 48,
        44239: [bytes(48), b"\x22" * 48, bytes(48), bytes(48)],
        44236: "sha-384",
        44237: public,
        44240: "sha-256",
    }
    return _kept(whole | (changes or {}))


def cca(
    *,
    tag: int = 907,
    legacy: bool = False,
    platform_changes: dict[int, Any] | None = None,
    realm_changes: dict[int, Any] | None = None,
    platform_curve: str = "secp256r1",
    realm_signer: str = "realm",
) -> bytes:
    """A CCA token; `legacy` is the first profile, with a bare point and no profile of the realm."""
    public = realm_key(legacy=legacy)
    for_realm = ({265: ...} if legacy else {}) | (realm_changes or {})
    old = {265: "http://arm.com/CCA-SSD/1.0.0"} if legacy else {}
    said = platform(public, old | (platform_changes or {}))
    parts = {
        44234: sign1(key("maker", platform_curve), said),
        44241: sign1(key(realm_signer, "secp384r1"), realm(public, for_realm)),
    }
    return wrap(parts, tag)


def wrap(parts: dict[int, Any], tag: int = 907) -> bytes:
    """The outer form of a tag around parts."""
    inside = {at: [263, one] for at, one in parts.items()} if tag == 907 else parts
    return cbor2.dumps(cbor2.CBORTag(tag, inside))


def psa_claims(changes: dict[int, Any] | None = None) -> dict[int, Any]:
    """The claims of a device, profile 2."""
    whole = {
        265: "tag:psacertified.org,2023:psa#tfm",
        10: bytes(range(64)),
        2394: -1,
        2395: 0x3000,
        2396: IMPLEMENTATION_ID,
        2397: bytes(range(32)),
        2398: "1234567890123-12345",
        2399: [COMPONENT],
        256: INSTANCE_ID,
        2400: "https://verifier.example/",
    }
    return _kept(whole | (changes or {}))


def psa_claims_1(changes: dict[int, Any] | None = None) -> dict[int, Any]:
    """The claims of a device, profile 1."""
    whole = {
        -75000: "PSA_IOT_PROFILE_1",
        -75001: 1,
        -75002: 0x3000,
        -75003: IMPLEMENTATION_ID,
        -75004: bytes(range(32)),
        -75005: "1234567890123",
        -75006: [COMPONENT],
        -75008: bytes(range(32)),
        -75009: INSTANCE_ID,
        -75010: "https://verifier.example/",
    }
    return _kept(whole | (changes or {}))
