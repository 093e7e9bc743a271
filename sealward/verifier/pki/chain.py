"""The chain walker: one path, given in order, checked at one given instant.

No path building: the format knows how long its chain is and who issues whom. Numbered procedure of
`walk`, for a path leaf first, root last:

    (1) every certificate but the last is followed by its issuer, by name;
    (2) every issuer is a CA: basicConstraints cA, keyUsage keyCertSign, path length respected;
    (3) every algorithm is one the format allows;
    (4) every critical extension is one the format understands;
    (5) every signature verifies, the root's own included;
    (6) every certificate is valid at the instant.

The caller MUST establish that the last certificate is a root it trusts (`TrustAnchors.identify`).
Revocation is not looked at here; the result of a format says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealward.verifier.pki import algorithms
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.certificate import (
    OID_BASIC_CONSTRAINTS,
    OID_KEY_USAGE,
    BasicConstraints,
    Certificate,
)
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

_ALWAYS_UNDERSTOOD: Final = frozenset({OID_BASIC_CONSTRAINTS, OID_KEY_USAGE})


@dataclass(frozen=True, slots=True)
class Rules:
    """What a format allows in its chains.

    Attributes:
        algorithms: the signature algorithms certificates may use.
        critical: OIDs of critical extensions the format looks at itself.
    """

    algorithms: frozenset[SignatureAlgorithm]
    critical: frozenset[str]


@dataclass(frozen=True, slots=True)
class Window:
    """The instants, both inclusive, between which a whole chain is valid."""

    not_before: datetime
    not_after: datetime
    first_to_expire: str

    def check(self, now: datetime) -> None:
        """Refuse an instant outside the window.

        Raises:
            RefusedEvidence: CERTIFICATE_NOT_YET_VALID or CERTIFICATE_EXPIRED.
        """
        if now < self.not_before:
            raise RefusedEvidence(
                Code.CERTIFICATE_NOT_YET_VALID,
                "a certificate of the chain is not valid yet",
                expected=f"at or after {self.not_before.isoformat()}",
                actual=now.isoformat(),
            )
        if now > self.not_after:
            raise RefusedEvidence(
                Code.CERTIFICATE_EXPIRED,
                f"the certificate of {self.first_to_expire} has expired",
                expected=f"at or before {self.not_after.isoformat()}",
                actual=now.isoformat(),
                hint="fetch current endorsements, or verify at the instant the evidence was made",
            )


def walk(path: tuple[Certificate, ...], *, rules: Rules, now: datetime) -> Window:
    """Check a path, leaf first, and return when it is valid. `now` is an aware UTC instant.

    Raises:
        RefusedEvidence: CHAIN_BROKEN, CERTIFICATE_FORBIDDEN, ALGORITHM_FORBIDDEN,
            SIGNATURE_INVALID, CERTIFICATE_NOT_YET_VALID or CERTIFICATE_EXPIRED.
    """
    issuers = (*path[1:], path[-1])
    for depth, (certificate, issuer) in enumerate(zip(path, issuers, strict=True)):
        _check_names(certificate, issuer)  # (1)
        check_issuer(issuer, below=min(depth, len(path) - 2))  # (2)
        check_permitted(certificate, rules)  # (3), (4)
        algorithms.verify(  # (5)
            issuer.spki,
            certificate.signature_algorithm,
            certificate.signature,
            certificate.tbs,
            owner=issuer.subject.text,
        )
    window = Window(
        max(certificate.not_before for certificate in path),
        min(certificate.not_after for certificate in path),
        min(path, key=lambda certificate: certificate.not_after).subject.text,
    )
    window.check(now)  # (6)
    return window


def _check_names(certificate: Certificate, issuer: Certificate) -> None:
    if certificate.issuer != issuer.subject:
        raise RefusedEvidence(
            Code.CHAIN_BROKEN,
            f"{certificate.subject.text} was not issued by the certificate given as its issuer",
            expected=certificate.issuer.text,
            actual=issuer.subject.text,
        )


def check_issuer(issuer: Certificate, *, below: int) -> None:
    """Refuse an issuer that may not issue, with `below` CA certificates between it and the leaf.

    Raises:
        RefusedEvidence: CERTIFICATE_FORBIDDEN.
    """
    constraints = issuer.basic_constraints or BasicConstraints(ca=False, path_length=None)
    if not constraints.ca or not issuer.key_cert_sign:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN, f"{issuer.subject.text} may not issue certificates"
        )
    if constraints.path_length is not None and below > constraints.path_length:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN,
            f"{issuer.subject.text} issued a longer chain than it may",
            expected=f"at most {constraints.path_length} intermediates",
            actual=str(below),
        )


def check_permitted(certificate: Certificate, rules: Rules) -> None:
    """Refuse an algorithm or a critical extension that the format does not have.

    Raises:
        RefusedEvidence: ALGORITHM_FORBIDDEN or CERTIFICATE_FORBIDDEN.
    """
    if certificate.signature_algorithm not in rules.algorithms:
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            f"{certificate.subject.text} is signed with an algorithm its format does not use",
            expected=", ".join(sorted(rules.algorithms)),
            actual=certificate.signature_algorithm,
        )
    understood = rules.critical | _ALWAYS_UNDERSTOOD
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in understood:
            raise RefusedEvidence(
                Code.CERTIFICATE_FORBIDDEN,
                f"{certificate.subject.text} has a critical extension we do not understand",
                actual=extension.oid,
            )
