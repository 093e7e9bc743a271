"""Attestation documents made here, under a root that a test pins in the place of AWS's.

Written with `cryptography` and cbor2 and none of our readers, so that a mistake of theirs is not
made twice. Every part can be changed before it is signed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.roots import PinnedRoot, Vendor

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODULE_ID = "i-0123456789abcdef0-enc0123456789abcdef"
PROTECTED = cbor2.dumps({1: -35})


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What one certificate of a chain says."""

    name: str
    holder: str = ""  # who has the key: the member itself, unless somebody else took its name
    ca: bool = True
    path_length: int | None = None
    usages: tuple[str, ...] = ("key_cert_sign", "crl_sign")
    not_before: datetime = NOW - timedelta(days=1)
    not_after: datetime = NOW + timedelta(days=1)
    curve: ec.EllipticCurve = field(default_factory=ec.SECP384R1)
    hash: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA384)


LEAF = Member(
    name="leaf",
    ca=False,
    usages=("digital_signature", "content_commitment"),
    not_before=NOW - timedelta(minutes=90),
    not_after=NOW + timedelta(minutes=90),
)
# Root first, as in a cabundle.
ISSUERS = (
    Member(name="root"),
    Member(name="region", path_length=2),
    Member(name="zone", path_length=1),
    Member(name="instance", path_length=0),
)
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True, slots=True)
class Chain:
    """Certificates in DER, and the key of the leaf."""

    leaf: bytes
    cabundle: tuple[bytes, ...]
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    def anchors(self, vendor: Vendor = Vendor.AWS, line: str = "Nitro") -> TrustAnchors:
        """Trust the root of this chain in the place of a vendor's."""
        root = x509.load_der_x509_certificate(self.cabundle[0])
        fingerprint = root.fingerprint(hashes.SHA256()).hex()
        return TrustAnchors(pinned=(PinnedRoot(vendor, line, fingerprint),))


@cache
def key(_owner: str, curve: str) -> ec.EllipticCurvePrivateKey:
    """One key for an owner and curve, whichever chain asks."""
    return ec.generate_private_key(
        {"secp384r1": ec.SECP384R1(), "secp256r1": ec.SECP256R1()}[curve]
    )


def chain(leaf: Member = LEAF, issuers: tuple[Member, ...] = ISSUERS) -> Chain:
    """Mint a chain; each member is issued by the one before it, the first by itself."""
    made: list[bytes] = []
    above = issuers[0]
    for member in (*issuers, leaf):
        made.append(_certificate(member, above))
        above = member
    return Chain(made[-1], tuple(made[:-1]), _key(leaf))


def _certificate(member: Member, issuer: Member) -> bytes:
    usage = x509.KeyUsage(**{name: name in member.usages for name in _USAGES})
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(member))
        .issuer_name(_name(issuer))
        .public_key(_key(member).public_key())
        .serial_number(1)
        .not_valid_before(member.not_before)
        .not_valid_after(member.not_after)
        .add_extension(x509.BasicConstraints(member.ca, member.path_length), critical=True)
        .add_extension(usage, critical=True)
    )
    signed = builder.sign(_key(issuer), member.hash)
    return signed.public_bytes(Encoding.DER)


def _key(member: Member) -> ec.EllipticCurvePrivateKey:
    return key(member.holder or member.name, member.curve.name)


def _name(member: Member) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test {member.name}")])


def payload(made: Chain, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any CBOR value
    """The map of a document; a change to `...` leaves the member out."""
    whole = {
        "module_id": MODULE_ID,
        "digest": "SHA384",
        "timestamp": int(NOW.timestamp() * 1000),
        "pcrs": {at: bytes((at + 1,)) * 48 if at < 3 else bytes(48) for at in range(16)},
        "certificate": made.leaf,
        "cabundle": list(made.cabundle),
        "public_key": None,
        "user_data": bytes(range(64)),
        "nonce": None,
    } | changes
    return {name: value for name, value in whole.items() if value is not ...}


def document(
    made: Chain | None = None,
    *,
    protected: bytes = PROTECTED,
    unprotected: dict[int, Any] | None = None,
    tag: int | None = None,
    raw: bytes | None = None,
    **changes: Any,  # noqa: ANN401 - any CBOR value
) -> bytes:
    """Mint a document; `changes` are of its payload, `raw` is a payload in its place."""
    made = made or standard()
    content = cbor2.dumps(payload(made, **changes)) if raw is None else raw
    parts = [protected, unprotected or {}, content, sign(made.key, protected, content)]
    return cbor2.dumps(parts if tag is None else cbor2.CBORTag(tag, parts))


def sign(signer: ec.EllipticCurvePrivateKey, protected: bytes, content: bytes) -> bytes:
    """r || s over the Sig_structure, with the hash of the key's curve."""
    size = signer.curve.key_size // 8
    algorithm = hashes.SHA384() if size == 48 else hashes.SHA256()
    signed = cbor2.dumps(["Signature1", protected, b"", content])
    r, s = decode_dss_signature(signer.sign(signed, ec.ECDSA(algorithm)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


@cache
def standard() -> Chain:
    """The chain of a document that verifies."""
    return chain()


def with_issuer(at: int, **changes: Any) -> tuple[Member, ...]:  # noqa: ANN401 - any field
    """The usual issuers with one changed."""
    return (*ISSUERS[:at], replace(ISSUERS[at], **changes), *ISSUERS[at + 1 :])
