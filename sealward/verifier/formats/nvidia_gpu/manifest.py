"""Reference manifests (RIM): what NVIDIA says that blocks of a report must be.

ISO/IEC 19770-2 (SWID) with the attributes of TCG's Reference Integrity Manifest information model,
as NVIDIA's service gives them. Numbered procedure of `authenticate`:

    (1) the XML is of the narrow form that wire/xml.py reads, in known namespaces, with known
        elements: Entity, Meta, Payload of Resources, Signature;
    (2) four certificates lead to the pinned root for manifests, or to an imported development root;
        the chain holds, dates at `now` included; the signer is no CA and has an ECDSA P-384 key;
    (3) the signature verifies over the document (signature.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from sealward.verifier.formats.nvidia_gpu import revocation, signature
from sealward.verifier.formats.nvidia_gpu.chain import anchored
from sealward.verifier.pki import algorithms, chain
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import xml

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.nvidia_gpu.revocation import Revocable
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.wire.xml import Element

MAX_BYTES: Final = 64 * 1024  # real ones have 26 KiB at most
LINE: Final = "RIM"

_SWID: Final = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
_TCG: Final = (
    "https://trustedcomputinggroup.org/resource/"
    "tcg-reference-integrity-manifest-rim-information-model/"
)
_HASHES: Final = "http://www.w3.org/2001/04/xmlenc#sha384"
_NAMESPACES: Final = frozenset({_SWID, _TCG, _HASHES, signature.NAMESPACE})
_CHAIN: Final = 4
_CURVE: Final = "secp384r1"
_DIGEST_SIZE: Final = 48
_HEX: Final = frozenset("0123456789abcdef")
_MAX_RESOURCES: Final = 128  # 64 are the most seen
_MAX_ALTERNATIVES: Final = 16  # 4 are the most seen
_MAX_TEXT: Final = 64
_WHAT: Final = "NVIDIA manifest"


@dataclass(frozen=True, slots=True)
class Resource:
    """One measurement: `index` counts from 0, and block index of a report is one more.

    Attributes:
        index: see above.
        active: it says something of the block; others are place-holders.
        digests: what the block may be, 48 bytes each.
    """

    index: int
    active: bool
    digests: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest's content.

    Attributes:
        product: the chip, "GH100" or "LS10".
        edition: "GPU" or "SWITCH".
        version: of the driver ("550.144.03") or of the VBIOS ("96.00.5E.00.01").
        manufacturer: of the firmware.
        resources: ascending by index.
        active: those of them that say something.
    """

    product: str
    edition: str
    version: str
    manufacturer: str
    resources: tuple[Resource, ...] = field(repr=False)
    active: tuple[Resource, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedManifest:
    """A manifest whose signature and chain held when it was made; its dates are checked at use.

    Attributes:
        manifest: its content.
        sha256: of its bytes, lower-case hex.
        development: the chain ends in a development root.
        window: when the whole chain is valid.
        path: the certificates, signer first.
        revocable: those that can be revoked.
    """

    manifest: Manifest
    sha256: str
    development: bool
    window: chain.Window
    path: tuple[Certificate, ...] = field(repr=False)
    revocable: tuple[Revocable, ...] = field(repr=False)


def looks_like(data: bytes) -> bool:
    """Whether `data` starts as a manifest does."""
    return data.startswith(b"<SoftwareIdentity ")


def authenticate(
    data: bytes, *, anchors: TrustAnchors, now: datetime, cache: ChainCache
) -> VerifiedManifest:
    """Run the procedure above at the aware UTC instant `now`, or find its result in the cache.

    Raises:
        MalformedEvidence: not such a document.
        RefusedEvidence: with the code of the step that failed.
    """
    key = ("nvidia-manifest", data, anchors.digest)
    found = cache.get(key, VerifiedManifest)
    if found is None:
        found = _authenticate(data, anchors, now)
        cache.put(key, found)
    found.window.check(now)
    return found


def parse(data: bytes) -> tuple[Manifest, signature.Signature]:
    """Step 1: read content and signature; nothing is verified.

    Raises:
        MalformedEvidence: not such a document.
    """
    root = xml.parse(data, what=_WHAT, max_bytes=MAX_BYTES)
    _check_namespaces(root)
    children = root.elements
    names = tuple((item.namespace, item.local) for item in children)
    swid = tuple((_SWID, name) for name in ("Entity", "Meta", "Payload"))
    if (root.namespace, root.local) != (_SWID, "SoftwareIdentity") or names[:-1] != swid:
        raise MalformedEvidence(0, f"{_WHAT}: not an identity with entity, meta data and payload")
    _, meta, payload, _ = children
    resources = _resources(payload)
    found = Manifest(
        product=_text(meta, "product"),
        edition=_text(meta, "edition"),
        version=_text(meta, "colloquialVersion"),
        manufacturer=_text(meta, "FirmwareManufacturer", _TCG),
        resources=resources,
        active=tuple(item for item in resources if item.active),
    )
    return found, signature.read(root)


def _authenticate(data: bytes, anchors: TrustAnchors, now: datetime) -> VerifiedManifest:
    found, signed = parse(data)  # (1)
    path = signed.certificates
    if len(path) != _CHAIN:
        raise MalformedEvidence(0, f"{_WHAT}: {len(path)} certificates, not {_CHAIN}")
    permitted = anchored(path[-1], LINE, anchors)
    window = chain.walk(path, rules=permitted, now=now)  # (2)
    signed.verify(_key(path[0]))  # (3)
    return VerifiedManifest(
        manifest=found,
        sha256=hashlib.sha256(data).hexdigest(),
        development=bool(permitted.critical),
        window=window,
        path=path,
        revocable=revocation.revocable(path),
    )


def _key(signer: Certificate) -> ec.EllipticCurvePublicKey:
    key = algorithms.load_public_key(signer.spki, owner=signer.subject.text)
    ca = signer.basic_constraints is not None and signer.basic_constraints.ca
    if ca or not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN,
            f"{signer.subject.text} may not sign manifests",
            expected=f"a key on {_CURVE}, of no CA",
        )
    return key


def _check_namespaces(element: Element) -> None:
    if not {uri for _, uri in element.declared} <= _NAMESPACES:
        raise MalformedEvidence(0, f"{_WHAT}: a namespace that manifests do not have")
    for child in element.elements:
        _check_namespaces(child)


def _resources(payload: Element) -> tuple[Resource, ...]:
    items = payload.elements
    if not 1 <= len(items) <= _MAX_RESOURCES:
        raise MalformedEvidence(0, f"{_WHAT}: not 1 to {_MAX_RESOURCES} measurements")
    found = tuple(_resource(item) for item in items)
    if [item.index for item in found] != sorted({item.index for item in found}):
        raise MalformedEvidence(0, f"{_WHAT}: its measurements are not in ascending order")
    return found


def _resource(item: Element) -> Resource:
    kind = (item.namespace, item.local, item.attribute("type"), item.attribute("size"))
    if kind != (_SWID, "Resource", "Measurement", str(_DIGEST_SIZE)) or item.children:
        raise MalformedEvidence(0, f"{_WHAT}: a resource that is no measurement of 48 bytes")
    index = _number(item, "index", _MAX_RESOURCES)
    count = _number(item, "alternatives", _MAX_ALTERNATIVES)
    names = [one.local for one in item.attributes if one.namespace == _HASHES]
    if count == 0 or sorted(names) != sorted(f"Hash{at}" for at in range(count)):
        raise MalformedEvidence(0, f"{_WHAT}: measurement {index} has other digests than it says")
    active = item.attribute("active")
    if active not in ("True", "False"):
        raise MalformedEvidence(0, f"{_WHAT}: measurement {index} is neither active nor not")
    digests = tuple(_digest(item, f"Hash{at}") for at in range(count))
    return Resource(index, active == "True", digests)


def _number(item: Element, name: str, most: int) -> int:
    text = _text(item, name)
    if not text.isdigit() or text != str(int(text)) or int(text) > most:
        raise MalformedEvidence(0, f"{_WHAT}: {name} is not a number up to {most}")
    return int(text)


def _digest(item: Element, name: str) -> bytes:
    text = item.attribute(name, _HASHES) or ""
    if len(text) != 2 * _DIGEST_SIZE or not set(text.lower()) <= _HEX:
        raise MalformedEvidence(0, f"{_WHAT}: {name} is not the hex of {_DIGEST_SIZE} bytes")
    return bytes.fromhex(text)


def _text(item: Element, name: str, namespace: str = "") -> str:
    text = item.attribute(name, namespace)
    if not text or len(text) > _MAX_TEXT:
        raise MalformedEvidence(0, f"{_WHAT}: {item.local} has no {name} of up to {_MAX_TEXT}")
    return text
