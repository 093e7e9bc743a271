"""Our own view of an X.509 v3 certificate (RFC 5280), read with the strict DER reader.

Not `cryptography.x509`: AMD's endorsement certificates have serial number 0 and carry raw bytes as
an extension value; that library warns about the first already and will refuse it one day. Only the
SubjectPublicKeyInfo is ever handed to it.

This module parses; nothing here is verified. See `sealward.verifier.pki.chain`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import der

if TYPE_CHECKING:
    from datetime import datetime

MAX_CERTIFICATE_BYTES: Final = 8 * 1024  # AMD's largest has 1.7 KiB, Azure's leaf 2.4 KiB

OID_BASIC_CONSTRAINTS: Final = "2.5.29.19"
OID_KEY_USAGE: Final = "2.5.29.15"

_EXPLICIT_VERSION: Final = 0xA0
_EXPLICIT_EXTENSIONS: Final = 0xA3
_VERSION_3: Final = 2
_SERIAL_BITS: Final = 160  # RFC 5280 4.1.2.2: a value of 20 octets; AWS uses all of them
_MAX_SERIAL_BYTES: Final = 21  # and DER puts a zero before a value whose first bit is set
_MAX_PATH_LENGTH_BYTES: Final = 1
_MAX_EXTENSIONS: Final = 32  # a VCEK has 12
_MAX_ATTRIBUTES: Final = 16
_DIGITAL_SIGNATURE, _KEY_CERT_SIGN = 0, 5  # RFC 5280 4.2.1.3

# RFC 4514 section 3, the short names worth printing.
_ATTRIBUTE_NAMES: Final = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
}
_SPECIAL: Final = re.compile(r'([,+"\\<>;=])')
_ESCAPED: Final = r"\\\1"


@dataclass(frozen=True, slots=True)
class Name:
    """A distinguished name. Names are equal when their DER is: no folding, no normalisation.

    Attributes:
        der: the encoded Name.
        attributes: (short name or dotted OID, value) in the order of the encoding.
    """

    der: bytes = field(repr=False)
    attributes: tuple[tuple[str, str], ...] = field(compare=False)

    @property
    def text(self) -> str:
        """Readable form of RFC 4514, last attribute first, as "CN=SEV-Milan,O=..."."""
        return ",".join(
            f"{name}={_SPECIAL.sub(_ESCAPED, value)}" for name, value in reversed(self.attributes)
        )

    @property
    def common_name(self) -> str | None:
        """The CN, or None when there is not exactly one."""
        names = [value for name, value in self.attributes if name == "CN"]
        return names[0] if len(names) == 1 else None


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: dotted OID, criticality, and the bytes inside its OCTET STRING."""

    oid: str
    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """RFC 5280 4.2.1.9."""

    ca: bool
    path_length: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A parsed and unverified certificate.

    Attributes:
        der: the certificate as given.
        tbs: the signed part, as given.
        serial: 0 is allowed, AMD uses it.
        not_before: aware UTC instant, inclusive.
        not_after: aware UTC instant, inclusive.
        spki: DER SubjectPublicKeyInfo.
        signature_algorithm: FORBIDDEN when the identifier is none that we allow.
        key_cert_sign, digital_signature: those bits of keyUsage; False where it is absent.
    """

    der: bytes = field(repr=False)
    tbs: bytes = field(repr=False)
    serial: int
    issuer: Name
    subject: Name
    not_before: datetime
    not_after: datetime
    spki: bytes = field(repr=False)
    signature_algorithm: SignatureAlgorithm
    signature: bytes = field(repr=False)
    extensions: tuple[Extension, ...] = field(repr=False)
    basic_constraints: BasicConstraints | None
    key_cert_sign: bool
    digital_signature: bool

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()

    def extension(self, oid: str) -> Extension | None:
        """Return the extension with this OID, or None."""
        return next((item for item in self.extensions if item.oid == oid), None)


def parse(data: bytes) -> Certificate:
    """Read one DER certificate.

    Raises:
        MalformedEvidence: not exactly one strict v3 certificate, or beyond MAX_CERTIFICATE_BYTES.
    """
    outer = der.read(data, what="certificate", max_bytes=MAX_CERTIFICATE_BYTES)
    body = outer.enter("certificate")
    outer.finish()
    tbs = body.element("tbsCertificate", der.SEQUENCE)
    algorithm = body.opaque("signatureAlgorithm", der.SEQUENCE)
    signature = body.bits("signature")
    body.finish()
    return _tbs(data, tbs, body.into(tbs, "tbsCertificate"), algorithm, signature)


def _tbs(
    data: bytes, tbs: der.Element, body: der.DerReader, algorithm: der.Element, signature: bytes
) -> Certificate:
    """Read TBSCertificate (RFC 5280 4.1): the fields in their order."""
    version = body.enter("version", _EXPLICIT_VERSION)
    if version.integer("version", max_bytes=1) != _VERSION_3:
        raise MalformedEvidence(tbs.offset, "certificate: only X.509 version 3 is read")
    version.finish()
    serial = body.integer("serialNumber", max_bytes=_MAX_SERIAL_BYTES)
    if serial < 0 or serial.bit_length() > _SERIAL_BITS:
        raise MalformedEvidence(tbs.offset, "serialNumber: negative, or beyond 20 octets")
    inner = body.element("tbsCertificate signature", der.SEQUENCE)
    if inner.der != algorithm.der:
        raise MalformedEvidence(inner.offset, "the two signature algorithms differ")
    issuer = read_name(body, "issuer")
    validity = body.enter("validity")
    not_before, not_after = validity.time("notBefore"), validity.time("notAfter")
    validity.finish()
    subject = read_name(body, "subject")
    spki = _spki(body)
    # The unique identifiers of 1993 ([1], [2]) are refused here by their tags.
    wrapper = body.enter("extensions", _EXPLICIT_EXTENSIONS)
    extensions = _extensions(wrapper.enter("extensions"))
    wrapper.finish()
    body.finish()
    usage = _key_usage(extensions)
    return Certificate(
        der=data,
        tbs=tbs.der,
        serial=serial,
        issuer=issuer,
        subject=subject,
        not_before=not_before,
        not_after=not_after,
        spki=spki,
        signature_algorithm=SignatureAlgorithm.of(algorithm.der),
        signature=signature,
        extensions=extensions,
        basic_constraints=_basic_constraints(extensions),
        key_cert_sign=_KEY_CERT_SIGN in usage,
        digital_signature=_DIGITAL_SIGNATURE in usage,
    )


def read_name(body: der.DerReader, what: str) -> Name:
    """Read one Name. Raises MalformedEvidence, naming it `what`."""
    element = body.element(what, der.SEQUENCE)
    rdns = body.into(element, what)
    found: list[tuple[str, str]] = []
    while not rdns.empty:
        attributes = rdns.enter(what, der.SET)
        while True:  # a SET of at least one
            found.append(_attribute(attributes.enter(what), what))
            if len(found) > _MAX_ATTRIBUTES:
                raise MalformedEvidence(element.offset, f"{what}: too many attributes")
            if attributes.empty:
                break
    return Name(element.der, tuple(found))


def _attribute(attribute: der.DerReader, what: str) -> tuple[str, str]:
    """Return the short name and readable value of one AttributeTypeAndValue."""
    oid = attribute.oid(what)
    name = _ATTRIBUTE_NAMES.get(oid, oid)
    value = attribute.opaque(what)
    attribute.finish()
    if value.tag in (der.UTF8_STRING, der.PRINTABLE_STRING, der.IA5_STRING):
        try:
            text = value.content.decode("utf-8" if value.tag == der.UTF8_STRING else "ascii")
        except UnicodeDecodeError:
            raise MalformedEvidence(value.offset, f"{what}: text does not match its type") from None
        if text.isprintable():  # a name is printed to operators: no control characters
            return name, text
    # Teletex, BMP and other legacy types are compared as bytes and printed as such (RFC 4514 2.4).
    return name, f"#{value.der.hex()}"


def _spki(body: der.DerReader) -> bytes:
    element = body.element("subjectPublicKeyInfo", der.SEQUENCE)
    inside = body.into(element, "subjectPublicKeyInfo")
    inside.opaque("subjectPublicKeyInfo algorithm", der.SEQUENCE)
    inside.bits("subjectPublicKey")
    inside.finish()
    return element.der


def _extensions(body: der.DerReader) -> tuple[Extension, ...]:
    result: list[Extension] = []
    seen: set[str] = set()
    while not body.empty:
        at = body.offset
        item = body.enter("extension")
        oid = item.oid("extension")
        critical = False
        if item.next_is(der.BOOLEAN):
            critical = item.boolean("extension critical")
            if not critical:
                raise MalformedEvidence(at, "extension critical: DER omits the default FALSE")
        value = item.element("extension value", der.OCTET_STRING).content
        item.finish()
        if oid in seen or len(result) == _MAX_EXTENSIONS:
            raise MalformedEvidence(at, f"extension {oid}: repeated, or too many extensions")
        seen.add(oid)
        result.append(Extension(oid, critical, value))
    return tuple(result)


def _basic_constraints(extensions: tuple[Extension, ...]) -> BasicConstraints | None:
    value = _value(extensions, OID_BASIC_CONSTRAINTS)
    if value is None:
        return None
    outer = der.read(value, what="basicConstraints", max_bytes=MAX_CERTIFICATE_BYTES)
    body = outer.enter("basicConstraints")
    outer.finish()
    ca = body.boolean("basicConstraints cA") if body.next_is(der.BOOLEAN) else False
    path_length = None
    if ca and not body.empty:  # RFC 5280: pathLenConstraint has a meaning only in a CA
        path_length = body.integer("pathLenConstraint", max_bytes=_MAX_PATH_LENGTH_BYTES)
    body.finish()
    return BasicConstraints(ca, path_length)


def _key_usage(extensions: tuple[Extension, ...]) -> frozenset[int]:
    value = _value(extensions, OID_KEY_USAGE)
    if value is None:
        return frozenset()
    outer = der.read(value, what="keyUsage", max_bytes=MAX_CERTIFICATE_BYTES)
    usage = outer.named_bits("keyUsage")
    outer.finish()
    return usage


def _value(extensions: tuple[Extension, ...], oid: str) -> bytes | None:
    return next((item.value for item in extensions if item.oid == oid), None)
