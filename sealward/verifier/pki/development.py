"""Development roots: made on the spot for demos and tests, and unable to pass for anything else.

The software attester mints genuine formats under such a root, and "only the root differs" makes the
root the whole defence (security-requirements F29). A certificate is accepted as one only if

    (1) its subject is exactly one common name, "Sealward Development ARK <line>", and no attribute
        imitates a vendor's;
    (2) it carries the critical marker extension, whose value is NULL;
    (3) it lives at most MAX_LIFE;
    (4) it is a self-signed CA, valid at the given instant.

Whoever holds the key of an accepted one can mint any evidence: every result under it says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealward.verifier.pki import certificate as x509
from sealward.verifier.pki import chain
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

# A UUID as an OID (ITU-T X.667), which needs no registration and collides with nobody's. The
# minting side (sealward_devkit) writes the same value and a test compares them.
DEVELOPMENT_MARKER_OID: Final = "2.25.147695781032003253261163673806234109685"
MAX_LIFE: Final = timedelta(days=7)

NAME_PREFIX: Final = "Sealward Development "

_ROOT_NAME: Final = re.compile(re.escape(NAME_PREFIX) + "ARK ([A-Z][a-z]+)")
_MARKER_VALUE: Final = b"\x05\x00"  # DER NULL
# Names that vendors' CAs use, so that a look-alike is told what is wrong with it.
_VENDOR_NAMES: Final = re.compile(
    r"^(ark|ask|asvk|sev)\b[- ]|^sev-|advanced micro devices|\bamd\b|\bintel\b|\bnvidia\b"
    r"|\bamazon\b|\baws\b|\bmicrosoft\b|\bgoogle\b",
    re.IGNORECASE,
)
_RULES: Final = chain.Rules(
    algorithms=frozenset({SignatureAlgorithm.RSA_PSS_SHA384}),
    critical=frozenset({DEVELOPMENT_MARKER_OID}),
)


@dataclass(frozen=True, slots=True)
class DevelopmentRoot:
    """A root that passed `import_root`; build it nowhere else.

    Attributes:
        line: the product line in its name, as "Milan".
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
    line = _line(certificate.subject)  # (1)
    marker = certificate.extension(DEVELOPMENT_MARKER_OID)
    if marker is None or not marker.critical or marker.value != _MARKER_VALUE:  # (2)
        raise _invalid("it lacks the critical marker extension", expected=DEVELOPMENT_MARKER_OID)
    if certificate.not_after - certificate.not_before > MAX_LIFE:  # (3)
        raise _invalid(
            "it lives too long",
            expected=f"at most {MAX_LIFE.days} days",
            actual=str(certificate.not_after - certificate.not_before),
        )
    chain.walk((certificate,), rules=_RULES, now=now)  # (4)
    return DevelopmentRoot(line, certificate.fingerprint)


def _line(subject: x509.Name) -> str:
    """Return the product line in the name of a development root."""
    for _, value in subject.attributes:
        if _VENDOR_NAMES.search(value):
            raise RefusedEvidence(
                Code.ROOT_IMITATES_VENDOR,
                "the certificate uses a vendor's name but is not the vendor's root",
                expected=f"CN={NAME_PREFIX}ARK <line>",
                actual=subject.text,
                hint="vendor roots are built in and never imported",
            )
    match = _ROOT_NAME.fullmatch(subject.common_name or "")
    if match is None or len(subject.attributes) != 1:
        raise _invalid(
            "it is not named as one", expected=f"CN={NAME_PREFIX}ARK <line>", actual=subject.text
        )
    return match.group(1)


def _invalid(why: str, *, expected: str, actual: str | None = None) -> RefusedEvidence:
    return RefusedEvidence(
        Code.DEVELOPMENT_ROOT_INVALID,
        f"not a development root: {why}",
        expected=expected,
        actual=actual,
    )
