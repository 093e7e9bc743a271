"""Reference manifests as NVIDIA's service gives them: SWID in XML, with an enveloped signature.

The document is written twice from one tree: as NVIDIA writes it, and canonically (Canonical XML
1.1), over which digest and signature are made. What it is written from has no character that would
need escaping.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sealward_devkit.nvidia.report import raw_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealward_devkit.nvidia.hierarchy import Signer

_SWID: Final = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
_TCG: Final = (
    "https://trustedcomputinggroup.org/resource/"
    "tcg-reference-integrity-manifest-rim-information-model/"
)
_SHA384: Final = "http://www.w3.org/2001/04/xmlenc#sha384"
_DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
_C14N: Final = "http://www.w3.org/2006/12/xml-c14n11"
_ROOT_NAMESPACES: Final = (("", _SWID), ("ns0", _SWID), ("ns2", _SHA384))
_BASE64_LINE: Final = 64
_INDENT: Final = "\n    "


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a manifest says.

    `digests` are, per index from 0, what the block may be; an index without any is a place-holder.
    """

    product: str
    version: str
    edition: str = "GPU"
    digests: tuple[tuple[bytes, ...], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Tag:
    """An element: attributes are (namespace, name, value) in the order of writing."""

    name: str
    attributes: tuple[tuple[str, str, str], ...] = ()
    children: tuple[_Tag | str, ...] = ()
    declared: tuple[tuple[str, str], ...] = ()


def mint(content: Content, signer: Signer) -> bytes:
    """The signed document."""
    root = _document(content)
    digest = hashlib.sha384(_canonical(root).encode()).digest()
    info = _signed_info(digest)
    inherited = (*_ROOT_NAMESPACES, ("ds", _DSIG))
    signed = _canonical(replace(info, declared=inherited)).encode()
    signature = _Tag(
        "ds:Signature",
        declared=(("ds", _DSIG),),
        children=(
            info,
            _text("ds:SignatureValue", _base64(raw_signature(signer.key, signed))),
            _key_info(signer),
        ),
    )
    whole = replace(root, children=(*root.children, signature))
    return f"{_written(whole)}\n".encode()


def _document(content: Content) -> _Tag:
    entity = (("", "name", "NVIDIA Corporation"), ("", "role", "softwareCreator tagCreator"))
    resources = [
        child
        for index, digests in enumerate(content.digests)
        for child in (_INDENT + "    ", _resource(index, digests))
    ]
    payload = _Tag("ns0:Payload", children=(*resources, _INDENT), declared=(("SHA384", _SHA384),))
    children = (_INDENT, _Tag("ns0:Entity", entity), _INDENT, _meta(content), _INDENT, payload)
    attributes = (
        ("", "corpus", "false"),
        ("", "name", content.product),
        ("", "tagId", hashlib.sha384(content.version.encode()).hexdigest()),
        ("", "version", "1.0"),
    )
    return _Tag("SoftwareIdentity", attributes, (*children, "\n"), _ROOT_NAMESPACES)


def _meta(content: Content) -> _Tag:
    attributes = (
        ("", "colloquialVersion", content.version),
        ("", "edition", content.edition),
        ("", "product", content.product),
        ("", "revision", "r1"),
        (_TCG, "ns1:BindingSpec", "RIMIM"),
        (_TCG, "ns1:PlatformModel", content.product),
        (_TCG, "ns1:FirmwareManufacturer", "NVIDIA Corporation"),
    )
    return _Tag("ns0:Meta", attributes, declared=(("ns1", _TCG),))


def _resource(index: int, digests: tuple[bytes, ...]) -> _Tag:
    shown = digests or (bytes(48),)
    attributes = (
        ("", "type", "Measurement"),
        ("", "index", str(index)),
        ("", "active", str(bool(digests))),
        ("", "alternatives", str(len(shown))),
        *((_SHA384, f"ns2:Hash{at}", digest.hex()) for at, digest in enumerate(shown)),
        ("", "name", f"Measurement_{index}"),
        ("", "size", "48"),
    )
    return _Tag("ns0:Resource", attributes)


def _signed_info(digest: bytes) -> _Tag:
    more = "http://www.w3.org/2001/04/xmldsig-more#"
    transforms = _Tag(
        "ds:Transforms",
        children=(
            _algorithm("ds:Transform", f"{_DSIG}enveloped-signature"),
            _algorithm("ds:Transform", _C14N),
        ),
    )
    reference = _Tag(
        "ds:Reference",
        (("", "URI", ""),),
        (
            transforms,
            _algorithm("ds:DigestMethod", f"{more}sha384"),
            _text("ds:DigestValue", base64.b64encode(digest).decode()),
        ),
    )
    return _Tag(
        "ds:SignedInfo",
        children=(
            _algorithm("ds:CanonicalizationMethod", _C14N),
            _algorithm("ds:SignatureMethod", f"{more}ecdsa-sha384"),
            reference,
        ),
    )


def _key_info(signer: Signer) -> _Tag:
    certificates = tuple(_text("ds:X509Certificate", _base64(item)) for item in signer.path)
    return _Tag("ds:KeyInfo", children=(_Tag("ds:X509Data", children=certificates),))


def _algorithm(name: str, uri: str) -> _Tag:
    return _Tag(name, (("", "Algorithm", uri),))


def _text(name: str, text: str) -> _Tag:
    return _Tag(name, children=(text,))


def _base64(data: bytes) -> str:
    """Base64 in lines, each ended, as NVIDIA writes certificates."""
    text = base64.b64encode(data).decode()
    lines = (text[at : at + _BASE64_LINE] for at in range(0, len(text), _BASE64_LINE))
    return "".join(f"{line}\n" for line in lines)


def _written(tag: _Tag) -> str:
    """As NVIDIA writes it: declarations first, attributes in their order, short empty elements."""
    head = tag.name + _declarations(dict(tag.declared))
    head += "".join(f' {name}="{value}"' for _, name, value in tag.attributes)
    if not tag.children:
        return f"<{head}/>"
    inside = (child if isinstance(child, str) else _written(child) for child in tag.children)
    return f"<{head}>{''.join(inside)}</{tag.name}>"


def _canonical(tag: _Tag) -> str:
    """Canonical XML 1.1; no element here declares what is already in force."""
    head = tag.name + _declarations(dict(sorted(tag.declared)))
    ordered = sorted(tag.attributes, key=lambda item: (item[0], item[1].rpartition(":")[2]))
    head += "".join(f' {name}="{value}"' for _, name, value in ordered)
    inside = (child if isinstance(child, str) else _canonical(child) for child in tag.children)
    return f"<{head}>{''.join(inside)}</{tag.name}>"


def _declarations(declared: Mapping[str, str]) -> str:
    return "".join(
        f' xmlns{":" if prefix else ""}{prefix}="{uri}"' for prefix, uri in declared.items()
    )
