"""Development GPUs, switches and manifests in memory; everything is valid at `NOW`.

lab = Lab()
gpu = lab.gpu()                          # of this chip and firmware, with manifests that match
gpu.report(nonce), gpu.chain             # bytes
lab.source, lab.anchors                  # what a verifier holds and trusts
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from fakes.snp_fixtures import NOW, VALIDITY
from sealward_devkit.nvidia import hierarchy, manifest
from sealward_devkit.nvidia import report as reports
from sealward_devkit.nvidia.hierarchy import Authority, Device, Signer

from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.collateral import Key, Kind

DRIVER: Final = "550.144.03"
VBIOS: Final = "96.00.5E.00.01"
SWITCH_VBIOS: Final = "96.10.55.00.01"
FWID: Final = hashlib.sha384(b"good firmware").digest()
NONCE: Final = bytes(range(32))
DRIVER_ID: Final = f"NV_GPU_DRIVER_GH100_{DRIVER}"
VBIOS_ID: Final = "NV_GPU_VBIOS_1010_0200_882_96005E0001"
SWITCH_ID: Final = "NV_SWITCH_BIOS_5612_0002_890_9610550001"

_DRIVER_INDEXES: Final = (13, 17, 35, 52)
_VBIOS_INDEXES: Final = (0, 1, 8)


def stream(seed: str) -> Callable[[int], bytes]:
    """Bytes that are the same at every run."""
    state = [hashlib.sha512(seed.encode()).digest()]

    def more(size: int) -> bytes:
        out = b""
        while len(out) < size:
            state[0] = hashlib.sha512(state[0]).digest()
            out += state[0]
        return out[:size]

    return more


def block(index: int) -> bytes:
    """What block index + 1 of good firmware is."""
    return hashlib.sha384(f"block {index}".encode()).digest()


@cache
def gpu_authority(chip: str) -> Authority:
    return hierarchy.gpu_authority(chip, stream(f"authority {chip}"), VALIDITY)


@cache
def rim_authority() -> Authority:
    return hierarchy.rim_authority(stream("rim authority"), VALIDITY)


@cache
def signer() -> Signer:
    return hierarchy.new_signer(rim_authority(), stream("signer"))


@cache
def device(chip: str, number: int) -> Device:
    return hierarchy.new_device(gpu_authority(chip), chip, FWID, stream(f"{chip} {number}"))


def gpu_blocks() -> tuple[bytes, ...]:
    claimed = (*_DRIVER_INDEXES, *_VBIOS_INDEXES)
    return tuple(block(index) if index in claimed else bytes(48) for index in range(64))


def rim(indexes: tuple[int, ...], version: str, product: str, **changes: object) -> bytes:
    digests = tuple(
        (hashlib.sha384(b"other").digest(), block(index)) if index in indexes else ()
        for index in range(64)
    )
    content = manifest.Content(product=product, version=version, digests=digests)
    return manifest.mint(replace(content, **changes), signer())  # type: ignore[arg-type]  # of a test


@cache
def driver_rim() -> bytes:
    return rim(_DRIVER_INDEXES, DRIVER, "GH100")


@cache
def vbios_rim() -> bytes:
    return rim(_VBIOS_INDEXES, VBIOS, "GH100")


@cache
def switch_rim() -> bytes:
    return rim((0, 1, 2), SWITCH_VBIOS, "LS10", edition="SWITCH")


@dataclass
class Store:
    """A source of collateral that remembers what it was asked."""

    held: dict[Key, bytes] = field(default_factory=dict)
    asked: list[Key] = field(default_factory=list)

    def get(self, key: Key) -> bytes | None:
        self.asked.append(key)
        return self.held.get(key)


def store() -> Store:
    """The manifests of the development GPUs and switches, and no answers about revocation."""
    return Store(
        {
            Key(Kind.NVIDIA_RIM, DRIVER_ID): driver_rim(),
            Key(Kind.NVIDIA_RIM, VBIOS_ID): vbios_rim(),
            Key(Kind.NVIDIA_RIM, SWITCH_ID): switch_rim(),
        }
    )


@cache
def anchors() -> TrustAnchors:
    roots = [gpu_authority("GH100").root, gpu_authority("LS_10").root, rim_authority().root]
    return TrustAnchors(development_roots=tuple(import_root(root, now=NOW) for root in roots))


def gpu_report(nonce: bytes = NONCE, number: int = 0, **changes: object) -> bytes:
    """A report of GPU `number`; `changes` are those of `gpu_content`, or `blocks`."""
    said = {"driver": DRIVER, "vbios": VBIOS, "blocks": gpu_blocks()} | changes
    one = device("GH100", number)
    content = reports.gpu_content(one, **said)  # type: ignore[arg-type]  # a test's changes
    return reports.mint(one, content, nonce, bytes(32))


def gpu_chain(number: int = 0) -> bytes:
    return reports.chain(device("GH100", number))


def switch_report(nonce: bytes = NONCE) -> bytes:
    blocks = tuple(block(index) if index < 3 else bytes(48) for index in range(31))
    content = reports.switch_content(blocks, vbios=SWITCH_VBIOS)
    return reports.mint(device("LS_10", 0), content, nonce, bytes(32))


def switch_chain() -> bytes:
    return reports.chain(device("LS_10", 0))


def answer(
    subject: bytes,
    issuer: bytes,
    key: ec.EllipticCurvePrivateKey,
    *,
    revoked: datetime | None = None,
    this_update: datetime = NOW - timedelta(hours=1),
    next_update: datetime | None = NOW + timedelta(days=1),
    delegate: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    by_key: bool = False,
    digest: hashes.HashAlgorithm | None = None,
    status: ocsp.OCSPCertStatus | None = None,
) -> bytes:
    """An OCSP response (DER) made by `cryptography`, by the issuer or by its delegate."""
    encoding = ocsp.OCSPResponderEncoding.HASH if by_key else ocsp.OCSPResponderEncoding.NAME
    told = status or (ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=x509.load_der_x509_certificate(subject),
        issuer=x509.load_der_x509_certificate(issuer),
        algorithm=digest or hashes.SHA1(),  # noqa: S303 - as responders have it (RFC 6960)
        cert_status=told,
        this_update=this_update,
        next_update=next_update,
        revocation_time=revoked,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    if delegate is None:
        builder = builder.responder_id(encoding, x509.load_der_x509_certificate(issuer))
        signed = builder.sign(key, hashes.SHA384())
    else:
        builder = builder.responder_id(encoding, delegate[0]).certificates([delegate[0]])
        signed = builder.sign(delegate[1], hashes.SHA384())
    return signed.public_bytes(serialization.Encoding.DER)


def delegate(
    issuer: bytes, key: ec.EllipticCurvePrivateKey, *, may_sign: bool = True
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A responder that the issuer delegated to, or only looks so."""
    own = ec.generate_private_key(ec.SECP384R1())
    use = ExtendedKeyUsageOID.OCSP_SIGNING if may_sign else ExtendedKeyUsageOID.SERVER_AUTH
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Responder")])
    builder = x509.CertificateBuilder(
        issuer_name=x509.load_der_x509_certificate(issuer).subject,
        subject_name=name,
        public_key=own.public_key(),
        serial_number=7,
        not_valid_before=VALIDITY.not_before,
        not_valid_after=VALIDITY.not_after,
    ).add_extension(x509.ExtendedKeyUsage([use]), critical=True)
    return builder.sign(key, hashes.SHA384()), own


def revocation_answers() -> dict[Key, bytes]:
    """Good answers for every certificate behind a GPU and its manifests that has one."""
    found: dict[Key, bytes] = {}
    gpus, rims = gpu_authority("GH100"), rim_authority()
    signed = (signer().path[0], *rims.path)
    pairs = [
        *zip(gpus.path, gpus.path[1:], gpus.keys[1:], strict=False),
        (signed[0], signed[1], rims.keys[0]),
        *zip(rims.path, rims.path[1:], rims.keys[1:], strict=False),
    ]
    for subject, issuer, key in pairs:
        name = hashlib.sha256(subject).hexdigest()
        found[Key(Kind.NVIDIA_OCSP, name)] = answer(subject, issuer, key)
    return found
