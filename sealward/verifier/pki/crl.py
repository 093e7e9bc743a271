"""X.509 certificate revocation lists (RFC 5280 section 5), read with the strict DER reader.

`parse` reads one list of version 2 that names a next update. What makes a list say less than "all
that this issuer revoked" is a critical extension (delta and partitioned lists, entries of other
issuers), and every critical extension is refused; so an absent serial number means not revoked.

`verify` is the proof: the issuer's name and its right to sign lists, the algorithm, the signature.
Dates are no part of it, for a verified list may be kept; `check_dates` is called at each use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.pki import algorithms
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.certificate import OID_KEY_USAGE, Name, read_name
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import der
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.pki.certificate import Certificate

MAX_CRL_BYTES: Final = 256 * 1024  # about 6,000 entries; Intel's longest has 85, AMD's none

OID_CRL_NUMBER: Final = "2.5.29.20"

_EXPLICIT_EXTENSIONS: Final = 0xA0
_VERSION_2: Final = 1
# RFC 5280 4.1.2.2: 20 octets; Intel uses all their bits, and a sign octet stands before some.
_MAX_SERIAL_BYTES: Final = 21
_MAX_NUMBER_BYTES: Final = 20  # RFC 5280 5.2.3
_MAX_EXTENSIONS: Final = 16
_CRL_SIGN: Final = 6
# Where the version stands: a list and its TBSCertList start with one head each, of 2 to 5 bytes.
_HEADS: Final = 2
_SHORTEST: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """A parsed list; verified only where `verify` says so.

    Attributes:
        tbs: the signed part, as given.
        this_update, next_update: aware UTC instants, inclusive.
        number: cRLNumber, or None where the issuer does not count.
        revoked: serial numbers.
        signature_algorithm: FORBIDDEN when the identifier is none that we allow.
    """

    tbs: bytes = field(repr=False)
    issuer: Name
    this_update: datetime
    next_update: datetime
    number: int | None
    revoked: frozenset[int] = field(repr=False)
    signature_algorithm: SignatureAlgorithm
    signature: bytes = field(repr=False)

    def check_dates(self, now: datetime) -> None:
        """Refuse an instant at which the list says nothing.

        Raises:
            RefusedEvidence: COLLATERAL_NOT_YET_VALID or COLLATERAL_EXPIRED.
        """
        if now < self.this_update:
            raise RefusedEvidence(
                Code.COLLATERAL_NOT_YET_VALID,
                f"the revocation list of {self.issuer.text} is from later",
                claim="collateral",
                expected=f"at or after {self.this_update.isoformat()}",
                actual=now.isoformat(),
            )
        if now > self.next_update:
            raise RefusedEvidence(
                Code.COLLATERAL_EXPIRED,
                f"the revocation list of {self.issuer.text} has expired",
                claim="collateral",
                expected=f"at or before {self.next_update.isoformat()}",
                actual=now.isoformat(),
                hint="fetch a current list, or verify at the instant the evidence was made",
            )

    def check(self, certificate: Certificate) -> None:
        """Refuse a certificate that this list names.

        The caller MUST have established that the list and the certificate have one issuer.

        Raises:
            RefusedEvidence: CERTIFICATE_REVOKED.
        """
        if certificate.serial in self.revoked:
            raise RefusedEvidence(
                Code.CERTIFICATE_REVOKED,
                f"the certificate of {certificate.subject.text} was revoked by its issuer",
                actual=f"serial {certificate.serial:x}",
                hint="this platform or signer is not to be trusted any more; replace it",
            )


def looks_like(data: bytes) -> bool:
    """Whether `data` starts as a list does and a certificate does not: with a bare version."""
    if len(data) < _SHORTEST or data[0] != der.SEQUENCE:
        return False
    reader = Reader(data)
    try:
        for _ in range(_HEADS):
            if reader.u8("SEQUENCE") != der.SEQUENCE:
                return False
            length = reader.u8("length")
            if length & 0x80:
                reader.take(length & 0x7F, "length")
    except MalformedEvidence:
        return False
    return reader.peek() == der.INTEGER


def parse(data: bytes) -> RevocationList:
    """Read one DER list.

    Raises:
        MalformedEvidence: not exactly one strict v2 list, or beyond MAX_CRL_BYTES.
    """
    outer = der.read(data, what="CRL", max_bytes=MAX_CRL_BYTES)
    body = outer.enter("CRL")
    outer.finish()
    tbs = body.element("tbsCertList", der.SEQUENCE)
    algorithm = body.opaque("signatureAlgorithm", der.SEQUENCE)
    signature = body.bits("signature")
    body.finish()
    return _tbs(tbs, body.into(tbs, "tbsCertList"), algorithm, signature)


def _tbs(
    tbs: der.Element, body: der.DerReader, algorithm: der.Element, signature: bytes
) -> RevocationList:
    """Read TBSCertList (RFC 5280 5.1.2): the fields in their order."""
    if body.integer("CRL version", max_bytes=1) != _VERSION_2:
        raise MalformedEvidence(tbs.offset, "CRL: only version 2 is read")
    inner = body.element("tbsCertList signature", der.SEQUENCE)
    if inner.der != algorithm.der:
        raise MalformedEvidence(inner.offset, "the two signature algorithms of a CRL differ")
    issuer = read_name(body, "CRL issuer")
    this_update, next_update = body.time("thisUpdate"), body.time("nextUpdate")
    # The list of entries is left out when it is empty.
    revoked = _entries(body.enter("revokedCertificates")) if body.next_is(der.SEQUENCE) else ()
    wrapper = body.enter("crlExtensions", _EXPLICIT_EXTENSIONS)
    number = _number(_extensions(wrapper.enter("crlExtensions"), "CRL extension"))
    wrapper.finish()
    body.finish()
    serials = frozenset(revoked)
    if len(serials) != len(revoked):
        raise MalformedEvidence(tbs.offset, "CRL: a serial number stands twice")
    return RevocationList(
        tbs=tbs.der,
        issuer=issuer,
        this_update=this_update,
        next_update=next_update,
        number=number,
        revoked=serials,
        signature_algorithm=SignatureAlgorithm.of(algorithm.der),
        signature=signature,
    )


def _entries(body: der.DerReader) -> tuple[int, ...]:
    serials: list[int] = []
    while not body.empty:
        at = body.offset
        entry = body.enter("revoked certificate")
        serial = entry.integer("revoked serialNumber", max_bytes=_MAX_SERIAL_BYTES)
        if serial < 0:
            raise MalformedEvidence(at, "revoked serialNumber: negative")
        serials.append(serial)
        # The date and the reason change nothing: a certificate on the list is not trusted.
        entry.time("revocationDate")
        if not entry.empty:
            _extensions(entry.enter("crlEntryExtensions"), "CRL entry extension")
        entry.finish()
    return tuple(serials)


def _extensions(body: der.DerReader, what: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while not body.empty:
        at = body.offset
        item = body.enter(what)
        oid = item.oid(what)
        if item.next_is(der.BOOLEAN):
            raise MalformedEvidence(at, f"{what} {oid}: critical, and none such is understood")
        value = item.element(what, der.OCTET_STRING).content
        item.finish()
        if oid in found or len(found) == _MAX_EXTENSIONS:
            raise MalformedEvidence(at, f"{what} {oid}: repeated, or too many extensions")
        found[oid] = value
    return found


def _number(extensions: dict[str, bytes]) -> int | None:
    value = extensions.get(OID_CRL_NUMBER)
    if value is None:
        return None
    reader = der.read(value, what="cRLNumber", max_bytes=MAX_CRL_BYTES)
    number = reader.integer("cRLNumber", max_bytes=_MAX_NUMBER_BYTES)
    reader.finish()
    if number < 0:
        raise MalformedEvidence(0, "cRLNumber: negative")
    return number


def verify(
    crl: RevocationList, issuer: Certificate, *, allowed: frozenset[SignatureAlgorithm]
) -> None:
    """Check that `issuer`, whose own chain the caller has checked, signed the list.

    Raises:
        RefusedEvidence: CHAIN_BROKEN for another issuer's list, CERTIFICATE_FORBIDDEN,
            ALGORITHM_FORBIDDEN or SIGNATURE_INVALID.
    """
    if crl.issuer != issuer.subject:
        raise RefusedEvidence(
            Code.CHAIN_BROKEN,
            "the revocation list was issued by another than the certificate given as its issuer",
            expected=issuer.subject.text,
            actual=crl.issuer.text,
        )
    if not _may_sign(issuer):
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN, f"{issuer.subject.text} may not sign revocation lists"
        )
    if crl.signature_algorithm not in allowed:
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            f"the list of {crl.issuer.text} is signed with an algorithm its format does not use",
            expected=", ".join(sorted(allowed)),
            actual=crl.signature_algorithm,
        )
    algorithms.verify(
        issuer.spki,
        crl.signature_algorithm,
        crl.signature,
        crl.tbs,
        owner=issuer.subject.text,
    )


def _may_sign(issuer: Certificate) -> bool:
    usage = issuer.extension(OID_KEY_USAGE)
    if usage is None:
        return False
    reader = der.read(usage.value, what="keyUsage", max_bytes=MAX_CRL_BYTES)
    bits = reader.named_bits("keyUsage")
    reader.finish()
    return _CRL_SIGN in bits
