"""Google's CAs as a test has them: a root that is pinned for the test, and certificates under it.

Written with `cryptography` from the structure that real certificates show (formats/gce/README.md).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ObjectIdentifier
from fakes import software_tpm
from fakes.software_tpm import NOW, SoftwareTpm, ca_name

from sealward.verifier.pki import certificate
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.roots import PinnedRoot, Vendor

INSTANCE_OID = "1.3.6.1.4.1.11129.2.1.21"


def tlv(tag: int, content: bytes) -> bytes:
    """DER of an element shorter than 64 KiB."""
    size = len(content)
    head = bytes((size,)) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")
    return bytes((tag,)) + head + content


def number(value: int) -> bytes:
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def text(value: str) -> bytes:
    return tlv(0xC, value.encode())


def flag(tag: int, *, value: bool) -> bytes:
    return tlv(0xA0 + tag, tlv(1, b"\xff" if value else b"\0"))


def properties(*, production: bool = True, version: int = 3) -> bytes:
    flags = b"".join(flag(tag, value=tag == 2) for tag in range(2, 6))
    inner = tlv(0xA0, number(version)) + flag(1, value=production) + flags
    return tlv(0xA0, tlv(0x30, inner))


def instance(
    *, zone: str = "us-test1-a", id_: int = (1 << 64) - 1, tail: bytes | None = None
) -> bytes:
    """The extension's value; `tail` are the security properties."""
    parts = (text(zone), number(42), text("a-project"), number(id_), text("a-machine"))
    return tlv(0x30, b"".join(parts) + (properties() if tail is None else tail))


@cache
def root(now: datetime = NOW) -> bytes:
    """The root, DER."""
    own = ("Test vTPM Root", "google-root")
    return _certificate(*own, *own, ca=True, now=now)


def anchors(vendor: Vendor = Vendor.GOOGLE, now: datetime = NOW) -> TrustAnchors:
    fingerprint = certificate.parse(root(now)).fingerprint
    return TrustAnchors(pinned=(PinnedRoot(vendor, "vTPM", fingerprint),))


def ak_certificate(tpm: SoftwareTpm, *, extension: bytes | None = None, **changes: Any) -> bytes:  # noqa: ANN401
    """The certificate of a TPM's attestation key; `extension` b"" leaves it out."""
    value = instance() if extension is None else extension
    return _certificate(
        "a machine",
        tpm.label,
        "Test vTPM Root",
        "google-root",
        kind=tpm.kind,
        value=value,
        **changes,
    )


def _certificate(
    subject: str,
    label: str,
    issuer: str,
    issuer_label: str,
    *,
    kind: str = "rsa2048",
    value: bytes = b"",
    ca: bool = False,
    sign: bool = True,
    now: datetime = NOW,
) -> bytes:
    key = software_tpm.private(kind, label).public_key()
    usage = x509.KeyUsage(
        digital_signature=sign and not ca,
        content_commitment=False,
        key_encipherment=not sign,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(ca_name(subject))
        .issuer_name(ca_name(issuer))
        .public_key(key)
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    if value:
        oid = ObjectIdentifier(INSTANCE_OID)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    signer = software_tpm.private("rsa2048", issuer_label)
    assert isinstance(signer, rsa.RSAPrivateKey)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
