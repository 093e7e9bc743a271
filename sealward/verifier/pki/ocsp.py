"""Signed answers about revocation: basic OCSP responses (RFC 6960), read and believed offline.

Numbered procedure of `verify`, for one certificate and its issuer:

    (1) the response is successful, basic, and has exactly one answer, or several of which exactly
        one is about this certificate: its serial number, its issuer's name and key by their hash;
    (2) its signer is the issuer itself, or one certificate that came along, was issued directly by
        the issuer, and may sign answers (extended key usage OCSPSigning);
    (3) the responder it names is that signer;
    (4) its signature verifies, by an algorithm that the chain's rules allow.

Dates are `Answer.check`'s, at each use. An answer without nextUpdate is refused: it says of itself
that it is old. What a delegated signer's own revocation is, is not asked (RFC 6960 4.2.2.2.1).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.pki import algorithms, certificate, chain
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import der

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.pki.certificate import Certificate

MAX_BYTES: Final = 8192  # one answer and a certificate or two

OID_EXTENDED_KEY_USAGE: Final = "2.5.29.37"
OID_INFORMATION_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
_OCSP: Final = "1.3.6.1.5.5.7.48.1"
_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"
_HASHES: Final = {"1.3.14.3.2.26": "sha1", "2.16.840.1.101.3.4.2.1": "sha256"}

_ENUMERATED: Final = 0x0A
_SUCCESSFUL: Final = b"\x00"
_CONTEXT_0: Final = 0xA0
_CONTEXT_1: Final = 0xA1
_CONTEXT_2: Final = 0xA2
_GOOD: Final = 0x80  # [0] IMPLICIT NULL
_REVOKED: Final = 0xA1
_UNKNOWN: Final = 0x82
_MAX_ANSWERS: Final = 16
_MAX_CERTIFICATES: Final = 4
_MAX_SERIAL_BYTES: Final = 20
_WHAT: Final = "OCSP response"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a believed responder says of one certificate.

    Attributes:
        revoked: since when, aware UTC, or None for good.
        this_update, next_update: when it was known, and until when that is to be relied on.
        signer: when the signer's certificate is valid.
    """

    revoked: datetime | None
    this_update: datetime
    next_update: datetime
    signer: chain.Window

    @property
    def not_after(self) -> datetime:
        """The last instant at which it says anything."""
        return min(self.next_update, self.signer.not_after)

    def is_current(self, now: datetime) -> bool:
        """Whether it may be relied on at `now` (aware UTC)."""
        return max(self.this_update, self.signer.not_before) <= now <= self.not_after


@dataclass(frozen=True, slots=True, kw_only=True)
class _Single:
    """One answer: whom it is about, and what it says."""

    hash_name: str
    issuer_name: bytes
    issuer_key: bytes
    serial: int
    revoked: datetime | None
    unknown: bool
    this_update: datetime
    next_update: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Response:
    signed: bytes = field(repr=False)
    by_name: bytes | None
    by_key: bytes | None
    singles: tuple[_Single, ...]
    algorithm: algorithms.SignatureAlgorithm
    signature: bytes = field(repr=False)
    certificates: tuple[Certificate, ...]


def names_responder(parsed: Certificate) -> bool:
    """Whether a certificate names an OCSP responder in its authority information access.

    Raises:
        MalformedEvidence: the extension does not parse.
    """
    extension = parsed.extension(OID_INFORMATION_ACCESS)
    if extension is None:
        return False
    what = "authorityInfoAccess"
    body = der.read(extension.value, what=what, max_bytes=MAX_BYTES).enter(what)
    found = False
    while not body.empty:
        description = body.enter(what)
        found |= description.oid(what) == _OCSP
        description.opaque(what)
        description.finish()
    return found


def verify(data: bytes, subject: Certificate, issuer: Certificate, *, rules: chain.Rules) -> Answer:
    """Run the procedure above; `rules` are those of the chain that both certificates are in.

    Raises:
        MalformedEvidence: not a successful basic response.
        RefusedEvidence: COLLATERAL_MISMATCH when it is about other certificates or says "unknown",
            or what is wrong with its signer and signature.
    """
    response = _parse(data)
    single = _about(response, subject, issuer)  # (1)
    if single.next_update is None:
        raise MalformedEvidence(0, f"{_WHAT}: nextUpdate is absent")
    signer, window = _signer(response, issuer, rules)  # (2), (3)
    if response.algorithm not in rules.algorithms:
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            "the answer about revocation is signed with an algorithm its chain does not use",
            expected=", ".join(sorted(rules.algorithms)),
            actual=response.algorithm,
        )
    algorithms.verify(  # (4)
        signer.spki,
        response.algorithm,
        response.signature,
        response.signed,
        owner=signer.subject.text,
    )
    return Answer(
        revoked=single.revoked,
        this_update=single.this_update,
        next_update=single.next_update,
        signer=window,
    )


def _about(response: _Response, subject: Certificate, issuer: Certificate) -> _Single:
    """Step 1."""
    key = _key_bits(issuer)
    found = [
        single
        for single in response.singles
        if single.serial == subject.serial
        and single.issuer_name == hashlib.new(single.hash_name, issuer.subject.der).digest()
        and single.issuer_key == hashlib.new(single.hash_name, key).digest()
    ]
    if len(found) != 1 or found[0].unknown:
        raise RefusedEvidence(
            Code.COLLATERAL_MISMATCH,
            f"the answer about revocation says nothing of {subject.subject.text}",
            hint="fetch an answer for this certificate",
        )
    return found[0]


def _signer(
    response: _Response, issuer: Certificate, rules: chain.Rules
) -> tuple[Certificate, chain.Window]:
    """Steps 2 and 3: the issuer, or whom it delegated to."""
    if _is_named(response, issuer):
        return issuer, chain.Window(issuer.not_before, issuer.not_after, issuer.subject.text)
    named = [item for item in response.certificates if _is_named(response, item)]
    if len(named) != 1 or named[0].issuer != issuer.subject:
        raise RefusedEvidence(
            Code.CHAIN_BROKEN,
            "the answer about revocation is not by the issuer, nor by one it delegated to",
            expected=issuer.subject.text,
        )
    signer = named[0]
    if not _may_sign(signer):
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN,
            f"{signer.subject.text} may not sign answers about revocation",
            expected="extended key usage OCSPSigning",
        )
    chain.check_issuer(issuer, below=0)
    chain.check_permitted(
        signer, chain.Rules(rules.algorithms, rules.critical | {OID_EXTENDED_KEY_USAGE})
    )
    algorithms.verify(
        issuer.spki,
        signer.signature_algorithm,
        signer.signature,
        signer.tbs,
        owner=issuer.subject.text,
    )
    return signer, chain.Window(signer.not_before, signer.not_after, signer.subject.text)


def _is_named(response: _Response, candidate: Certificate) -> bool:
    if response.by_name is not None:
        return response.by_name == candidate.subject.der
    # RFC 6960 4.2.1: KeyHash is always SHA-1; it only finds the key, which then has to verify.
    return response.by_key == hashlib.sha1(_key_bits(candidate), usedforsecurity=False).digest()


def _may_sign(signer: Certificate) -> bool:
    extension = signer.extension(OID_EXTENDED_KEY_USAGE)
    if extension is None:
        return False
    what = "extKeyUsage"
    body = der.read(extension.value, what=what, max_bytes=MAX_BYTES).enter(what)
    found = False
    while not body.empty:
        found |= body.oid(what) == _OCSP_SIGNING
    return found


def _key_bits(owner: Certificate) -> bytes:
    """Return the bits of subjectPublicKey, which RFC 6960 hashes instead of the whole SPKI."""
    what = "subjectPublicKeyInfo"
    body = der.read(owner.spki, what=what, max_bytes=MAX_BYTES).enter(what)
    body.opaque(what, der.SEQUENCE)
    return body.bits(what)


def _parse(data: bytes) -> _Response:
    outer = der.read(data, what=_WHAT, max_bytes=MAX_BYTES)
    body = outer.enter(_WHAT)
    outer.finish()
    if body.element("responseStatus", _ENUMERATED).content != _SUCCESSFUL:
        raise MalformedEvidence(0, f"{_WHAT}: the responder gave no answer")
    wrapper = body.enter("responseBytes", _CONTEXT_0)
    typed = wrapper.enter("responseBytes")
    wrapper.finish()
    body.finish()
    if typed.oid("responseType") != _BASIC:
        raise MalformedEvidence(0, f"{_WHAT}: only basic responses are read")
    inner = typed.element("response", der.OCTET_STRING)
    typed.finish()
    return _basic(inner.content)


def _basic(data: bytes) -> _Response:
    outer = der.read(data, what=_WHAT, max_bytes=MAX_BYTES)
    body = outer.enter(_WHAT)
    outer.finish()
    signed = body.element("tbsResponseData", der.SEQUENCE)
    algorithm = body.opaque("signatureAlgorithm", der.SEQUENCE)
    signature = body.bits("signature")
    certificates: tuple[Certificate, ...] = ()
    if body.next_is(_CONTEXT_0):
        wrapper = body.enter("certs", _CONTEXT_0)
        certificates = _certificates(wrapper.enter("certs"))
        wrapper.finish()
    body.finish()
    by_name, by_key, singles = _response_data(body.into(signed, "tbsResponseData"))
    return _Response(
        signed=signed.der,
        by_name=by_name,
        by_key=by_key,
        singles=singles,
        algorithm=algorithms.SignatureAlgorithm.of(algorithm.der),
        signature=signature,
        certificates=certificates,
    )


def _certificates(body: der.DerReader) -> tuple[Certificate, ...]:
    found: list[Certificate] = []
    while not body.empty:
        if len(found) == _MAX_CERTIFICATES:
            raise MalformedEvidence(body.offset, f"{_WHAT}: too many certificates")
        found.append(certificate.parse(body.element("certificate", der.SEQUENCE).der))
    return tuple(found)


def _response_data(
    body: der.DerReader,
) -> tuple[bytes | None, bytes | None, tuple[_Single, ...]]:
    """Read ResponseData: the responder by name or by key, and the answers."""
    by_name = by_key = None  # version [0] has its default in DER and is never written
    if body.next_is(_CONTEXT_1):
        by_name = body.enter("responderID", _CONTEXT_1).opaque("byName", der.SEQUENCE).der
    else:
        by_key = body.enter("responderID", _CONTEXT_2).element("byKey", der.OCTET_STRING).content
    body.time("producedAt")
    answers = body.enter("responses")
    singles: list[_Single] = []
    while not answers.empty:
        if len(singles) == _MAX_ANSWERS:
            raise MalformedEvidence(answers.offset, f"{_WHAT}: too many answers")
        singles.append(_single(answers.enter("response")))
    if body.next_is(_CONTEXT_1):
        body.opaque("responseExtensions", _CONTEXT_1)  # a nonce: freshness is nextUpdate's here
    body.finish()
    return by_name, by_key, tuple(singles)


def _single(body: der.DerReader) -> _Single:
    identifier = body.enter("certID")
    algorithm = identifier.enter("hashAlgorithm")
    hash_name = _HASHES.get(algorithm.oid("hashAlgorithm"))
    if hash_name is None:
        raise MalformedEvidence(algorithm.offset, "certID: its hash is neither SHA-1 nor SHA-256")
    if not algorithm.empty:
        algorithm.element("parameters", der.NULL)
        algorithm.finish()
    issuer_name = identifier.element("issuerNameHash", der.OCTET_STRING).content
    issuer_key = identifier.element("issuerKeyHash", der.OCTET_STRING).content
    serial = identifier.integer("serialNumber", max_bytes=_MAX_SERIAL_BYTES + 1)
    identifier.finish()
    status = body.opaque("certStatus")
    if status.tag not in (_GOOD, _REVOKED, _UNKNOWN):
        raise MalformedEvidence(status.offset, "certStatus: neither good, revoked nor unknown")
    revoked = (
        body.into(status, "revoked").time("revocationTime") if status.tag == _REVOKED else None
    )
    this_update = body.time("thisUpdate")
    next_update = None
    if body.next_is(_CONTEXT_0):
        wrapper = body.enter("nextUpdate", _CONTEXT_0)
        next_update = wrapper.time("nextUpdate")
        wrapper.finish()
    if body.next_is(_CONTEXT_1):
        body.opaque("singleExtensions", _CONTEXT_1)
    body.finish()
    return _Single(
        hash_name=hash_name,
        issuer_name=issuer_name,
        issuer_key=issuer_key,
        serial=serial,
        revoked=revoked,
        unknown=status.tag == _UNKNOWN,
        this_update=this_update,
        next_update=next_update,
    )
