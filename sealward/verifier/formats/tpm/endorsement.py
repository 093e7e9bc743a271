"""The certificate of an endorsement key, and its chain to a root that the tenant trusts.

Numbered procedure of `endorse` (TCG EK Credential Profile 2.5, evidence-formats section 5):

    (1) the chain is found by names among the certificates given; each name fits exactly one;
    (2) its root is one of the tenant's trust anchors, by the SHA-256 of its DER: there is no
        world-wide list of TPM vendors that we would trust on a tenant's behalf;
    (3) the chain holds: names, CA rules, algorithms, signatures, dates at `now`; critical
        extensions other than the subject alternative name and the extended key usage are refused;
    (4) the leaf is no CA, its key is for encryption (keyEncipherment, or keyAgreement for ECC), and
        its extended key usage names an EK certificate (2.23.133.8.1);
    (5) its subject alternative name has one directory name with manufacturer, model and version
        once each, and is critical where the subject is empty (RFC 5280 4.2.1.6).

`check_key` then compares the certified key with a public area: a certificate says nothing about
the template of its key. Revocation is not looked at; `Collateral.revocation` says "absent".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealward.verifier.formats.tpm import keys
from sealward.verifier.pki import algorithms, certificate, chain
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.certificate import MAX_CERTIFICATE_BYTES, OID_KEY_USAGE
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import der

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sealward.verifier.formats.tpm.public import Public
    from sealward.verifier.pki.certificate import Certificate

EKU_EK_CERTIFICATE: Final = "2.23.133.8.1"
OID_EXTENDED_KEY_USAGE: Final = "2.5.29.37"
OID_SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
_ANCHORS_REMEMBERED: Final = 256  # four tenants' worth of roots and intermediates
MAX_CHAIN: Final = 5  # leaf, three intermediates, root: the longest of the vendors we know

_MANUFACTURER, _MODEL, _VERSION = "2.23.133.2.1", "2.23.133.2.2", "2.23.133.2.3"
_DIRECTORY_NAME: Final = 0xA4  # GeneralName [4], EXPLICIT since Name is a CHOICE
_KEY_ENCIPHERMENT, _KEY_AGREEMENT = 2, 4
_MAX_USAGES: Final = 16
# What libtpms calls itself: a TPM that is a process on somebody's machine, whatever root signed.
_SOFTWARE_MODELS: Final = frozenset({"swtpm"})
RULES: Final = chain.Rules(
    algorithms=frozenset(
        {
            SignatureAlgorithm.RSA_PKCS1_SHA256,
            SignatureAlgorithm.ECDSA_SHA256,
            SignatureAlgorithm.ECDSA_SHA384,
        }
    ),
    critical=frozenset({OID_SUBJECT_ALTERNATIVE_NAME, OID_EXTENDED_KEY_USAGE}),
)


@dataclass(frozen=True, slots=True)
class EndorsementRoot:
    """A tenant's trust anchor for TPMs.

    Attributes:
        der: the self-signed certificate.
        development: what it endorses proves nothing about hardware (swtpm's local CA).
    """

    der: bytes = field(repr=False)
    development: bool = False

    @property
    def sha256(self) -> str:
        """Fingerprint of the certificate, lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsedEk:
    """An endorsement key whose chain held at an instant; built only by `endorse`.

    Attributes:
        manufacturer: TCG vendor id, as "id:474F4F47".
        model, version: as the vendor writes them.
        spki: DER SubjectPublicKeyInfo of the key.
        development: the root is a development root, or the TPM is software by its own name.
        issuers: fingerprints of the chain above the key, lower-case hex, the anchor last.
        window: when the whole chain is valid.
        chain: the subjects, leaf first.
    """

    manufacturer: str
    model: str
    version: str
    spki: bytes = field(repr=False)
    development: bool
    issuers: tuple[str, ...]
    window: chain.Window
    chain: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """SHA-256 of the key's SubjectPublicKeyInfo, lower-case hex: which TPM it is."""
        return hashlib.sha256(self.spki).hexdigest()


def is_ek_certificate(parsed: Certificate) -> bool:
    """Whether a certificate presents itself as one of an endorsement key."""
    return parsed.extension(OID_SUBJECT_ALTERNATIVE_NAME) is not None and EKU_EK_CERTIFICATE in (
        _usages(parsed)
    )


def endorse(
    leaf: bytes,
    certificates: Iterable[bytes],
    *,
    roots: tuple[EndorsementRoot, ...],
    now: datetime,
) -> EndorsedEk:
    """Run the procedure above on a DER certificate, at the aware UTC instant `now`.

    Args:
        leaf: the certificate of the endorsement key.
        certificates: intermediates, DER, in any order; others among them do not disturb.
        roots: the tenant's trust anchors.
        now: the instant to verify at.

    Raises:
        MalformedEvidence: a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    pool = dict.fromkeys((*certificates, *(root.der for root in roots)))
    path = _path(certificate.parse(leaf), tuple(_parsed(item) for item in pool))  # (1)
    anchor = _anchor(path[-1], roots)  # (2)
    window = chain.walk(path, rules=RULES, now=now)  # (3)
    _check_usage(path[0])  # (4)
    manufacturer, model, version = _described(path[0])  # (5)
    return EndorsedEk(
        manufacturer=manufacturer,
        model=model,
        version=version,
        spki=path[0].spki,
        development=anchor.development or model.casefold() in _SOFTWARE_MODELS,
        issuers=tuple(member.fingerprint for member in path[1:]),
        window=window,
        chain=tuple(member.subject.text for member in path),
    )


def check_key(endorsed: EndorsedEk, public: Public) -> None:
    """Refuse a public area whose key is not the certified one, or that is no EK by its template.

    Raises:
        RefusedEvidence: KEY_KIND_MISMATCH, or what `keys.check_endorsement_key` says.
    """
    keys.check_endorsement_key(public)
    key = keys.load(public, owner="the endorsement key")
    certified = algorithms.load_public_key(endorsed.spki, owner="the EK certificate")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_bytes(*form) != certified.public_bytes(*form):
        raise RefusedEvidence(
            Code.KEY_KIND_MISMATCH,
            "the certificate is for another endorsement key",
            claim="tpm.ek",
            expected=endorsed.sha256,
            actual=hashlib.sha256(key.public_bytes(*form)).hexdigest(),
        )


@lru_cache(maxsize=_ANCHORS_REMEMBERED)
def _parsed(der_bytes: bytes) -> Certificate:
    """Parse a certificate of our own: the same bytes are the same certificate for ever."""
    return certificate.parse(der_bytes)


def _path(leaf: Certificate, pool: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    path = [leaf]
    while path[-1].issuer != path[-1].subject:
        issuers = [item for item in pool if item.subject == path[-1].issuer]
        if not issuers or len(path) == MAX_CHAIN:
            raise RefusedEvidence(
                Code.ENDORSEMENT_MISSING,
                f"the certificate of {path[-1].issuer.text} is missing, or the chain is too long",
                hint="add the TPM vendor's intermediate certificates, and its root as an anchor",
            )
        if len(issuers) > 1:
            raise RefusedEvidence(
                Code.EVIDENCE_AMBIGUOUS,
                f"{len(issuers)} different certificates could be {path[-1].issuer.text}",
            )
        path.append(issuers[0])
    return tuple(path)


def _anchor(root: Certificate, roots: tuple[EndorsementRoot, ...]) -> EndorsementRoot:
    for anchor in roots:
        if anchor.sha256 == root.fingerprint:
            return anchor
    raise RefusedEvidence(
        Code.ROOT_NOT_PINNED,
        "the chain of the endorsement key ends in a root that this tenant does not trust",
        actual=root.fingerprint,
        hint="TPM vendors' roots are trust anchors that each tenant adds for its own fleet",
    )


def _check_usage(leaf: Certificate) -> None:
    key = algorithms.load_public_key(leaf.spki, owner="the EK certificate")
    ecc = isinstance(key, ec.EllipticCurvePublicKey)
    wanted = _KEY_AGREEMENT if ecc else _KEY_ENCIPHERMENT
    ca = leaf.basic_constraints is not None and leaf.basic_constraints.ca
    if ca or wanted not in _key_usage(leaf) or EKU_EK_CERTIFICATE not in _usages(leaf):
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN,
            "the certificate is not one of an endorsement key",
            expected=f"no CA, a key for encryption, extended key usage {EKU_EK_CERTIFICATE}",
            actual=leaf.subject.text or "empty subject",
        )


def _key_usage(leaf: Certificate) -> frozenset[int]:
    extension = leaf.extension(OID_KEY_USAGE)
    if extension is None:
        return frozenset()
    reader = der.read(extension.value, what="keyUsage", max_bytes=MAX_CERTIFICATE_BYTES)
    usage = reader.named_bits("keyUsage")
    reader.finish()
    return usage


def _usages(parsed: Certificate) -> tuple[str, ...]:
    extension = parsed.extension(OID_EXTENDED_KEY_USAGE)
    if extension is None:
        return ()
    what = "extended key usage"
    outer = der.read(extension.value, what=what, max_bytes=MAX_CERTIFICATE_BYTES)
    body = outer.enter(what)
    outer.finish()
    found: list[str] = []
    while not body.empty:
        if len(found) == _MAX_USAGES:
            raise MalformedEvidence(body.offset, f"{what}: more than {_MAX_USAGES}")
        found.append(body.oid(what))
    return tuple(found)


def _described(leaf: Certificate) -> tuple[str, str, str]:
    """Return manufacturer, model and version (EK Credential Profile 3.2.9)."""
    what = "subject alternative name"
    extension = leaf.extension(OID_SUBJECT_ALTERNATIVE_NAME)
    if extension is None or not (extension.critical or leaf.subject.attributes):
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN,
            "the EK certificate's subject alternative name is missing, or not critical beside an"
            " empty subject",
        )
    outer = der.read(extension.value, what=what, max_bytes=MAX_CERTIFICATE_BYTES)
    names = outer.enter(what)
    outer.finish()
    found: list[tuple[str, str]] = []
    directories = 0
    while not names.empty:
        if names.next_is(_DIRECTORY_NAME):
            inside = names.enter(what, _DIRECTORY_NAME)
            found += certificate.read_name(inside, what).attributes
            inside.finish()
            directories += 1
        else:  # a vendor may add a permanent identifier; we do not rest on it
            names.opaque(what)
    values = [[value for oid, value in found if oid == one] for one in _DESCRIPTION]
    if directories != 1 or any(len(value) != 1 for value in values):
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN,
            "the EK certificate does not say once what TPM its key is in",
            expected="one directory name with manufacturer, model and version",
            actual=", ".join(f"{oid}={value}" for oid, value in found) or "nothing",
        )
    manufacturer, model, version = (value[0] for value in values)
    return manufacturer, model, version


_DESCRIPTION: Final = (_MANUFACTURER, _MODEL, _VERSION)
