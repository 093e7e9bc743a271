"""The signature of a reference manifest: XML-DSig, enveloped, in the one form that NVIDIA writes.

XML-DSig core 1.1 with every choice taken: SignedInfo and document in Canonical XML 1.1, ECDSA P-384
with SHA-384 (r and s, 48 bytes each), one reference to the whole document (URI ""), transforms
enveloped-signature and Canonical XML 1.1 in this order, a SHA-384 digest, certificates in KeyInfo,
leaf first. The signature is the last child of the root element. So what is signed is the document,
all of it but the signature, and nothing can be wrapped round it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealward.verifier.pki import certificate
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import base64, xml
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.wire.xml import Element

NAMESPACE: Final = "http://www.w3.org/2000/09/xmldsig#"

_C14N: Final = "http://www.w3.org/2006/12/xml-c14n11"
_ENVELOPED: Final = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_ECDSA_SHA384: Final = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
_SHA384: Final = "http://www.w3.org/2001/04/xmldsig-more#sha384"
_WHAT: Final = "manifest signature"
_HALF: Final = 48
_MAX_CERTIFICATES: Final = 8
_BLANK: Final = "\n "


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature as it was read; nothing is verified.

    Attributes:
        digest: of the document without the signature, as the signature says.
        actual_digest: as it is.
        signed: canonical SignedInfo.
        r, s: the value.
        certificates: leaf first.
    """

    digest: bytes
    actual_digest: bytes
    signed: bytes = field(repr=False)
    r: int = field(repr=False)
    s: int = field(repr=False)
    certificates: tuple[Certificate, ...] = field(repr=False)

    def verify(self, key: ec.EllipticCurvePublicKey) -> None:
        """Check digest and value under `key`, P-384. Raises RefusedEvidence SIGNATURE_INVALID."""
        if not hmac.compare_digest(self.digest, self.actual_digest):
            raise RefusedEvidence(
                Code.SIGNATURE_INVALID,
                "the manifest is not what its signature was made over",
                expected=self.digest.hex(),
                actual=self.actual_digest.hex(),
            )
        try:
            value = encode_dss_signature(self.r, self.s)
            key.verify(value, self.signed, ec.ECDSA(hashes.SHA384()))
        except InvalidSignature:
            raise RefusedEvidence(
                Code.SIGNATURE_INVALID, "the manifest's signature does not verify under its signer"
            ) from None


def read(root: Element) -> Signature:
    """Read the signature in a manifest's root element.

    Raises:
        MalformedEvidence: it is not of the one form described above.
    """
    children = root.elements
    if not children or children[-1].local != "Signature":
        raise _malformed("it is not the last element")
    signature = children[-1]
    info, value, key_info = _children(signature, "SignedInfo", "SignatureValue", "KeyInfo")
    method, algorithm, reference = _children(
        info, "CanonicalizationMethod", "SignatureMethod", "Reference"
    )
    _require(method, Algorithm=_C14N)
    _require(algorithm, Algorithm=_ECDSA_SHA384)
    if [(item.name, item.value) for item in reference.attributes] != [("URI", "")]:
        raise _malformed("its reference is not the whole document")
    transforms, digest_method, digest = _children(
        reference, "Transforms", "DigestMethod", "DigestValue"
    )
    first, second = _children(transforms, "Transform", "Transform")
    _require(first, Algorithm=_ENVELOPED)
    _require(second, Algorithm=_C14N)
    _require(digest_method, Algorithm=_SHA384)
    numbers = Reader(_octets(value, 2 * _HALF))
    return Signature(
        digest=_octets(digest, hashlib.sha384().digest_size),
        actual_digest=hashlib.sha384(xml.canonical(root, without=signature)).digest(),
        signed=xml.canonical(info, ancestors=(root, signature)),
        r=numbers.be(_HALF, _WHAT),
        s=numbers.be(_HALF, _WHAT),
        certificates=_certificates(key_info),
    )


def _certificates(key_info: Element) -> tuple[Certificate, ...]:
    (data,) = _children(key_info, "X509Data")
    items = data.elements
    if len(items) > _MAX_CERTIFICATES:
        raise _malformed("too many certificates")
    _children(data, *("X509Certificate" for _ in items))
    texts = (item.text.replace("\n", "") for item in items)
    most = certificate.MAX_CERTIFICATE_BYTES
    return tuple(
        certificate.parse(base64.decode(text, what=_WHAT, max_bytes=most)) for text in texts
    )


def _children(parent: Element, *names: str) -> tuple[Element, ...]:
    """Return the children, which are exactly these elements of XML-DSig, in this order."""
    found = parent.elements
    actual = tuple(item.local for item in found)
    foreign = any(item.namespace != NAMESPACE for item in (parent, *found))
    if actual != names or foreign or parent.text.strip(_BLANK):
        raise _malformed(f"{parent.local} does not hold {', '.join(names)} and nothing else")
    return found


def _require(element: Element, **attributes: str) -> None:
    actual = {item.name: item.value for item in element.attributes}
    if actual != attributes or element.children:
        raise _malformed(f"{element.local} is not what NVIDIA's manifests have")


def _octets(element: Element, size: int) -> bytes:
    text = element.text.replace("\n", "")
    if element.elements or element.attributes:
        raise _malformed(f"{element.local} is not text")
    found = base64.decode(text, what=_WHAT, max_bytes=size)
    if len(found) != size:
        raise _malformed(f"{element.local} is not {size} bytes")
    return found


def _malformed(why: str) -> MalformedEvidence:
    return MalformedEvidence(0, f"{_WHAT}: {why}")
