"""Development roots: made on the spot for demos and tests, and unable to pass for anything else.

The development kit mints genuine formats under such a root, and "only the root differs" makes the
root the whole defence (security-requirements F29). A certificate is accepted as one only if

    (1) its subject is exactly one common name, one of the closed list `_ROLES`, each
        "Sealward Development <role>", and no attribute imitates a vendor's;
    (2) it carries the critical marker extension, whose value is NULL;
    (3) it lives at most MAX_LIFE;
    (4) its key is of the kind, and on the curve, of its role;
    (5) it is a self-signed CA, by the algorithm of its role, valid at the given instant.

A role is a vendor's line of roots: AMD has an ARK for each product, the others one root each. The
list is closed, and a format takes no root of another role than its own, so that who holds one
demonstration's key mints no other kind of evidence. Whoever holds the key of an accepted one can
mint any evidence of its kind: every result under it says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from sealward.verifier.pki import algorithms, chain
from sealward.verifier.pki import certificate as x509
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

# A UUID as an OID (ITU-T X.667), which needs no registration and collides with nobody's. The
# minting side (sealward_devkit) writes the same value and a test compares them.
DEVELOPMENT_MARKER_OID: Final = "2.25.147695781032003253261163673806234109685"
MAX_LIFE: Final = timedelta(days=7)

NAME_PREFIX: Final = "Sealward Development "

_MARKER_VALUE: Final = b"\x05\x00"  # DER NULL
# Names that vendors' CAs use, so that a look-alike is told what is wrong with it.
_VENDOR_NAMES: Final = re.compile(
    r"^(ark|ask|asvk|sev)\b[- ]|^sev-|advanced micro devices|\bamd\b|\bintel\b|\bnvidia\b"
    r"|\bamazon\b|\baws\b|\bmicrosoft\b|\bgoogle\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Role:
    """One kind of root: how it is named, what formats call it, and the vendor's cryptography."""

    name: str
    line: str
    algorithm: SignatureAlgorithm
    curve: str | None  # None for RSA


_ROLES: Final = (
    _Role("ARK Milan", "Milan", SignatureAlgorithm.RSA_PSS_SHA384, None),
    _Role("ARK Genoa", "Genoa", SignatureAlgorithm.RSA_PSS_SHA384, None),
    _Role("ARK Turin", "Turin", SignatureAlgorithm.RSA_PSS_SHA384, None),
    _Role("DCAP Root", "DCAP", SignatureAlgorithm.ECDSA_SHA256, "secp256r1"),
    _Role("Nitro Root", "Nitro", SignatureAlgorithm.ECDSA_SHA384, "secp384r1"),
    _Role("GPU Root", "GPU", SignatureAlgorithm.ECDSA_SHA384, "secp384r1"),
    _Role("RIM Root", "RIM", SignatureAlgorithm.ECDSA_SHA384, "secp384r1"),
    _Role("Google AK Root", "Google", SignatureAlgorithm.RSA_PKCS1_SHA256, None),
)
_EXPECTED_NAME: Final = f"CN={NAME_PREFIX}, then one of {', '.join(role.name for role in _ROLES)}"


@dataclass(frozen=True, slots=True)
class DevelopmentRoot:
    """A root that passed `import_root`; build it nowhere else.

    Attributes:
        line: what it endorses, by its name: "Milan", "Genoa", "Turin", "DCAP", "Nitro", "GPU",
            "RIM" or "Google". A format MUST refuse a root of a line that is not its own.
        sha256: of the DER certificate, lower-case hex.
    """

    line: str
    sha256: str


def import_root(der: bytes, *, now: datetime) -> DevelopmentRoot:
    """Accept a DER certificate as a development root, or refuse it with the rule it breaks.

    Raises:
        MalformedEvidence: not a certificate.
        RefusedEvidence: ROOT_IMITATES_VENDOR, DEVELOPMENT_ROOT_INVALID, or what `chain.walk` says
            of its own signature and dates.
    """
    certificate = x509.parse(der)
    role = _role(certificate.subject)  # (1)
    marker = certificate.extension(DEVELOPMENT_MARKER_OID)
    if marker is None or not marker.critical or marker.value != _MARKER_VALUE:  # (2)
        raise _invalid("it lacks the critical marker extension", expected=DEVELOPMENT_MARKER_OID)
    if certificate.not_after - certificate.not_before > MAX_LIFE:  # (3)
        raise _invalid(
            "it lives too long",
            expected=f"at most {MAX_LIFE.days} days",
            actual=str(certificate.not_after - certificate.not_before),
        )
    _check_key(certificate, role)  # (4)
    rules = chain.Rules(
        algorithms=frozenset({role.algorithm}), critical=frozenset({DEVELOPMENT_MARKER_OID})
    )
    chain.walk((certificate,), rules=rules, now=now)  # (5)
    return DevelopmentRoot(role.line, certificate.fingerprint)


def _role(subject: x509.Name) -> _Role:
    """Return the role that a subject names; refuse any but the names of the list."""
    if len(subject.attributes) == 1:
        for role in _ROLES:
            if subject.common_name == NAME_PREFIX + role.name:
                return role
    for _, value in subject.attributes:
        if _VENDOR_NAMES.search(value):
            raise RefusedEvidence(
                Code.ROOT_IMITATES_VENDOR,
                "the certificate uses a vendor's name but is not the vendor's root",
                expected=_EXPECTED_NAME,
                actual=subject.text,
                hint="vendor roots are built in and never imported",
            )
    raise _invalid("it is not named as one", expected=_EXPECTED_NAME, actual=subject.text)


def _check_key(certificate: x509.Certificate, role: _Role) -> None:
    key = algorithms.load_public_key(certificate.spki, owner=certificate.subject.text)
    curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else None
    if curve != role.curve:
        raise _invalid(
            f"its key is not that of a {role.name}",
            expected=role.curve or "RSA",
            actual=curve or "RSA",
        )


def _invalid(why: str, *, expected: str, actual: str | None = None) -> RefusedEvidence:
    return RefusedEvidence(
        Code.DEVELOPMENT_ROOT_INVALID,
        f"not a development root: {why}",
        expected=expected,
        actual=actual,
    )
