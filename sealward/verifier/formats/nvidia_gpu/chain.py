"""The certificates of a device's key, from its own to the pinned root.

Numbered procedure of `endorse`, for the PEM that the driver gives, leaf first (NVIDIA publishes no
profile; the roles are those of all real chains seen):

    (1) there are five, and the last is pinned for this purpose, or an imported development root;
    (2) the first four are named for their roles, the first three of them for the same chip;
    (3) the chain holds: names, CA rules, ECDSA with SHA-384, signatures, dates at `now`;
    (4) the leaf is no CA, and its key is ECDSA P-384;
    (5) the leaf names the firmware that made its key (FWID).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from sealward.verifier.formats.nvidia_gpu import fwid, revocation
from sealward.verifier.pki import algorithms, certificate, chain
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.development import DEVELOPMENT_MARKER_OID, NAME_PREFIX, DevelopmentRoot
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import pem

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.nvidia_gpu.revocation import Revocable
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.pki.chain_cache import ChainCache

MAX_PEM_BYTES: Final = 5120  # the driver's buffer (nvml.h); real ones have 4.9 KiB
LENGTH: Final = 5
LINE: Final = "GPU"

# "GH100 A01 GSP FMC LF"; switches have another processor in the place of the GSP: "LS_10 A01 FSP".
_LEAF: Final = re.compile(
    rf"(?:{re.escape(NAME_PREFIX)})?+(G[A-Z][0-9]{{3}}|LS_10) [A-Z][0-9]{{2}} (GSP|FSP) FMC LF"
)
# Of the leaf, and of those above it but the root; {} is the chip.
_ROLES: Final = (
    "{} [A-Z][0-9]{{2}} (GSP|FSP) FMC LF",
    "{} [A-Z][0-9]{{2}} (GSP|FSP) BROM",
    "(NVIDIA )?{} Provisioner ICA [0-9]{{1,5}}",
    "(NVIDIA )?[A-Z0-9_]{{2,16}} Identity",  # that of LS_10 is named after GH100
)
_CURVE: Final = "secp384r1"
_SERIAL_NUMBER: Final = "2.5.4.5"

CHAIN_RULES: Final = chain.Rules(
    algorithms=frozenset({SignatureAlgorithm.ECDSA_SHA384}), critical=frozenset()
)
_DEVELOPMENT_RULES: Final = chain.Rules(
    algorithms=frozenset({SignatureAlgorithm.ECDSA_SHA384}),
    critical=frozenset({DEVELOPMENT_MARKER_OID}),
)


def anchored(root: Certificate, line: str, anchors: TrustAnchors) -> chain.Rules:
    """Return the rules of a chain that ends in `root`, which must be trusted for `line`.

    Raises:
        RefusedEvidence: ROOT_NOT_PINNED.
    """
    anchor = anchors.identify(root.fingerprint)
    nvidia = isinstance(anchor, DevelopmentRoot) or anchor.vendor is Vendor.NVIDIA
    if not nvidia or anchor.line != line:
        raise RefusedEvidence(
            Code.ROOT_NOT_PINNED,
            "the chain ends in a root that is trusted for something else",
            expected=f"NVIDIA's root for {line}",
            actual=anchor.line,
        )
    return _DEVELOPMENT_RULES if isinstance(anchor, DevelopmentRoot) else CHAIN_RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsedKey:
    """A device's key whose chain held when it was made; its dates are checked at each use.

    Attributes:
        chip: "GH100", "GB100", "LS_10" ..., by the leaf's name.
        fwid: SHA-384 of the firmware that holds the key, as the leaf names it.
        spki_sha256: of the leaf's DER SubjectPublicKeyInfo, lower-case hex; other firmware on the
            same device has another.
        device_sha256: the same of the certificate above it, the boot ROM's, which stays.
        serial: what NVIDIA calls the chip in the certificate of its boot ROM, or None.
        development: the chain ends in a development root.
        window: when the whole chain is valid.
        path: the certificates, leaf first.
        revocable: those that can be revoked.
        key: the leaf's.
    """

    chip: str
    fwid: bytes
    spki_sha256: str
    device_sha256: str
    serial: str | None
    development: bool
    window: chain.Window
    path: tuple[Certificate, ...] = field(repr=False)
    revocable: tuple[Revocable, ...] = field(repr=False)
    key: ec.EllipticCurvePublicKey = field(repr=False)


def endorse(data: bytes, *, anchors: TrustAnchors, now: datetime, cache: ChainCache) -> EndorsedKey:
    """Verify a chain (PEM) at the aware UTC instant `now`, or find it in the cache.

    Raises:
        MalformedEvidence: not such a file, or a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    key = ("nvidia-chain", hashlib.sha256(data).digest(), anchors.digest)
    endorsed = cache.get(key, EndorsedKey)
    if endorsed is None:
        endorsed = _endorse(data, anchors, now)
        cache.put(key, endorsed)
    endorsed.window.check(now)
    return endorsed


def is_leaf(parsed: Certificate) -> bool:
    """Whether a certificate is named as that of a device's attestation key; proves nothing."""
    return _LEAF.fullmatch(parsed.subject.common_name or "") is not None


def _endorse(data: bytes, anchors: TrustAnchors, now: datetime) -> EndorsedKey:
    blocks = pem.decode(data, what="NVIDIA certificates", max_bytes=MAX_PEM_BYTES)
    if len(blocks) != LENGTH:  # (1)
        raise MalformedEvidence(0, f"NVIDIA certificates: {len(blocks)}, not {LENGTH}")
    path = tuple(certificate.parse(block) for block in blocks)
    leaf, root = path[0], path[-1]
    permitted = anchored(root, LINE, anchors)
    development = permitted is _DEVELOPMENT_RULES
    chip = _check_names(path, development=development)  # (2)
    window = chain.walk(path, rules=permitted, now=now)  # (3)
    return EndorsedKey(
        chip=chip,
        fwid=fwid.of(leaf),  # (5)
        spki_sha256=hashlib.sha256(leaf.spki).hexdigest(),
        device_sha256=hashlib.sha256(path[1].spki).hexdigest(),
        serial=_serial(path[1]),
        development=development,
        window=window,
        path=path,
        revocable=revocation.revocable(path),
        key=_key(leaf),  # (4)
    )


def _check_names(path: tuple[Certificate, ...], *, development: bool) -> str:
    """Step 2; returns the chip. Names are worth what the root under them is."""
    names = [member.subject.common_name or "" for member in path]
    leaf = _LEAF.fullmatch(names[0])
    chip = "" if leaf is None else leaf[1]
    prefix = re.escape(NAME_PREFIX) if development else ""
    roles = [prefix + pattern.format(re.escape(chip)) for pattern in _ROLES]
    fits = (re.fullmatch(role, name) for role, name in zip(roles, names, strict=False))
    if not chip or not all(fits):
        raise RefusedEvidence(
            Code.CHAIN_BROKEN,
            "the certificates are not those of a GPU or switch",
            expected="<chip> GSP FMC LF <- <chip> GSP BROM <- Provisioner ICA <- Identity <- root",
            actual=" <- ".join(names),
        )
    return chip


def _serial(brom: Certificate) -> str | None:
    found = [value for name, value in brom.subject.attributes if name == _SERIAL_NUMBER]
    return found[0] if len(found) == 1 else None


def _key(leaf: Certificate) -> ec.EllipticCurvePublicKey:
    if leaf.basic_constraints is not None and leaf.basic_constraints.ca:
        raise RefusedEvidence(Code.CERTIFICATE_FORBIDDEN, f"{leaf.subject.text} is a CA")
    key = algorithms.load_public_key(leaf.spki, owner=leaf.subject.text)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN, "the device's key is not ECDSA P-384", expected=_CURVE
        )
    return key
