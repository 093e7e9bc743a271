"""Finds the chain of an endorsement key in a heap of certificates, by names; verifies nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealward.verifier.formats.snp import vek
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.pki import certificate
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealward.verifier.pki.certificate import Certificate, Name

_KDS = "https://kdsintf.amd.com"


def select(certificates: Iterable[bytes]) -> Endorsements:
    """Return the one VEK among DER certificates with the intermediate and root its names ask for.

    Raises:
        MalformedEvidence: one of them does not parse.
        RefusedEvidence: ENDORSEMENT_MISSING, or EVIDENCE_AMBIGUOUS when several would fit.
    """
    # Equal certificates given twice (in a file and in a table, say) are one.
    pool = tuple(certificate.parse(data) for data in dict.fromkeys(certificates))
    leaf = _only(
        [member for member in pool if vek.is_vek(member)],
        "the VCEK or VLEK of the report",
        hint="the host gives it (configfs-tsm auxblob), or AMD's key distribution service",
    )
    intermediate = _issuer(pool, leaf.issuer)
    root = _issuer(pool, intermediate.issuer)
    return Endorsements(leaf.der, intermediate.der, root.der)


def _issuer(pool: tuple[Certificate, ...], name: Name) -> Certificate:
    issuers = [member for member in pool if member.subject == name and not vek.is_vek(member)]
    return _only(issuers, f"the certificate of {name.common_name}", hint=_where(name))


def _only(found: list[Certificate], what: str, *, hint: str) -> Certificate:
    if not found:
        raise RefusedEvidence(Code.ENDORSEMENT_MISSING, f"{what} is missing", hint=hint)
    if len(found) > 1:
        raise RefusedEvidence(
            Code.EVIDENCE_AMBIGUOUS,
            f"{len(found)} different certificates could be {what}",
            hint="give the certificates of one report only",
        )
    return found[0]


def _where(name: Name) -> str:
    """Say where AMD publishes the CA certificate of this name, without looking."""
    common_name = name.common_name or ""
    kind = "vlek" if "VLEK" in common_name else "vcek"
    line = common_name.rpartition("-")[2] or "<product>"
    return f"AMD publishes it at {_KDS}/{kind}/v1/{line}/cert_chain; add that file"
