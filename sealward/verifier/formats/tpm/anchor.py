"""Which certificates a tenant may take as trust anchors of endorsement keys.

Numbered procedure of `check` (docs/specs/tpm-node.md 2):

    (1) the certificate is a CA: basicConstraints cA, keyUsage keyCertSign;
    (2) its algorithms, its key and its critical extensions are ones that `endorse` understands;
    (3) it is valid at the given instant;
    (4) a self-issued one is signed by its own key: a root. Any other is an intermediate, which only
        completes chains to a root; its signature is looked at with every chain;
    (5) the CA of a software TPM is marked as development, and nothing that is so marked carries the
        name of a vendor (F29).

Whoever holds the key of a root can mint any TPM of the tenant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.tpm.endorsement import RULES
from sealward.verifier.pki import algorithms, certificate, chain
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.pki.certificate import Certificate

# What swtpm_localca names its root and its signing certificate, unless it is told otherwise.
_SOFTWARE: Final = re.compile(r"\bswtpm\b|\bswtpm-localca", re.IGNORECASE)
# TPM vendors (TCG vendor id registry) and clouds with virtual TPMs, as their CAs spell themselves.
_VENDORS: Final = re.compile(
    r"\b(infineon|nuvoton|winbond|stmicro(electronics)?|stm tpm|nationz|nsing|atmel|broadcom|intel"
    r"|amd|advanced micro devices|qualcomm|texas instruments|samsung|ibm|lenovo|cisco|huawei|hpe"
    r"|hewlett[- ]packard( enterprise)?|microsoft|azure|google|amazon|aws|vmware|nvidia)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A certificate that passed `check`; built nowhere else.

    Attributes:
        der: the certificate.
        sha256: its fingerprint, lower-case hex.
        root: chains may end here; an intermediate only completes them.
        subject: its name in readable form.
        not_after: its end, aware UTC.
    """

    der: bytes = field(repr=False)
    sha256: str
    root: bool
    subject: str
    not_after: datetime


def check(der: bytes, *, development: bool, now: datetime) -> Anchor:
    """Run the procedure above on a DER certificate, at the aware UTC instant `now`.

    Args:
        der: the certificate.
        development: it is imported as one that proves nothing about hardware.
        now: the instant of the import.

    Raises:
        MalformedEvidence: not a certificate.
        RefusedEvidence: CERTIFICATE_FORBIDDEN, ALGORITHM_FORBIDDEN, SIGNATURE_INVALID,
            CERTIFICATE_NOT_YET_VALID, CERTIFICATE_EXPIRED, ROOT_IMITATES_VENDOR, or
            DEVELOPMENT_ROOT_INVALID for a software TPM's CA that is not marked.
    """
    parsed = certificate.parse(der)
    root = parsed.issuer == parsed.subject
    if root:
        chain.walk((parsed,), rules=RULES, now=now)  # (1) to (4)
    else:
        _check_intermediate(parsed, now)  # (1) to (3)
    _check_names(parsed, development=development)  # (5)
    return Anchor(
        der=der,
        sha256=parsed.fingerprint,
        root=root,
        subject=parsed.subject.text,
        not_after=parsed.not_after,
    )


def _check_intermediate(parsed: Certificate, now: datetime) -> None:
    chain.check_issuer(parsed, below=0)
    chain.check_permitted(parsed, RULES)
    algorithms.load_public_key(parsed.spki, owner=parsed.subject.text)
    chain.Window(parsed.not_before, parsed.not_after, parsed.subject.text).check(now)


def _check_names(parsed: Certificate, *, development: bool) -> None:
    names = [value for _, value in (*parsed.subject.attributes, *parsed.issuer.attributes)]
    if not development and any(map(_SOFTWARE.search, names)):
        raise RefusedEvidence(
            Code.DEVELOPMENT_ROOT_INVALID,
            "the certificate is of a software TPM's CA, which proves nothing about hardware",
            actual=parsed.subject.text,
            hint="import it as a development anchor (--development), into a development"
            " installation only",
        )
    if development and any(map(_VENDORS.search, names)):
        raise RefusedEvidence(
            Code.ROOT_IMITATES_VENDOR,
            "a development anchor carries a vendor's name",
            actual=parsed.subject.text,
            hint="name the CA of a software TPM as what it is; a vendor's own is no development"
            " anchor",
        )
